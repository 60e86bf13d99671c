"""The README and the docs are tests: their commands, code, notebooks, links and pictures."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
RUN = {"console", "python"}
READ_ONLY = {"text", "toml", "yaml"}
FENCE = re.compile(
    r"^(?:<!-- skip: (?P<skip>[^\n]*) -->\n)?"
    r"```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    code: str
    title: str | None
    skip: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["language"], match["code"], match["title"], match["skip"])


def runnable(page: Path) -> bool:
    return any(block.language in RUN and block.skip is None for block in blocks(page))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ------------------------------------------------------------------ the folder that pages are run in
@pytest.fixture(scope="session")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shell() -> dict[str, str]:
    """Environment in which `coverslip` is the one that is being tested."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "110",
    }


@pytest.fixture(scope="session")
def surveyed(hooks: ModuleType, shell: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with slides/ and run/, as CONTRIBUTING.md promises to pages."""
    folder = tmp_path_factory.mktemp("docs")
    hooks.phantom_slides(folder / "slides")
    execute("coverslip run survey slides -o run", folder, shell)
    return folder


@pytest.fixture
def sandbox(surveyed: Path, tmp_path: Path) -> Path:
    shutil.copytree(surveyed, tmp_path, dirs_exist_ok=True)
    return tmp_path


def execute(command: str, folder: Path, shell: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=shell,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"


# ------------------------------------------------------------------ commands and code
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name)
def test_page_runs(page: Path, sandbox: Path, shell: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sandbox)
    monkeypatch.syspath_prepend(str(sandbox))
    before = set(sys.modules)
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if block.title is not None:
            (sandbox / block.title).write_text(block.code, encoding="utf-8")
        elif block.skip is None and block.language == "python":
            exec(compile(block.code, str(block), "exec"), namespace)  # noqa: S102 - our own pages
        elif block.skip is None and block.language == "console":
            for command in commands(block):
                execute(command, sandbox, shell)
    for module in set(sys.modules) - before:
        if str(sandbox) in (getattr(sys.modules[module], "__file__", None) or ""):
            del sys.modules[module]


def commands(block: Block) -> list[str]:
    return [line[2:] for line in block.code.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = list(blocks(page))
    assert len(re.findall(r"^\s*```\w", text, re.MULTILINE)) == len(found), (
        "a fence is indented or not closed"
    )
    for block in found:
        assert block.language in RUN | READ_ONLY or block.skip, (
            f"{block}: {block.language} cannot be run here"
        )
        assert block.skip is None or len(block.skip) > 15, f"{block}: that is no reason"
        assert block.language != "console" or commands(block), f"{block}: no line begins with '$ '"
        if block.language == "toml":
            tomllib.loads(block.code)


def test_documented_commands_exist() -> None:
    from coverslip.cli import main

    written = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = [block.code for block in blocks(page) if block.language == "console"]
        code += re.findall(r"`(coverslip [^`]+)`", text)
        written |= {
            word for part in code for word in re.findall(r"(?:^|\$ |; |&& )coverslip ([a-z]+)", part, re.M)
        }
    assert written >= {"run", "info", "status", "doctor", "demo"}
    assert written - set(main.commands) == set()


def test_readme_has_two_set_up_commands() -> None:
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "console")
    assert [command.split("#")[0].strip() for command in commands(first)] == ["make demo", "make test"]


# ------------------------------------------------------------------ pages
@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_pages_load_nothing_from_the_network(tmp_path: Path) -> None:
    """Build the site as `make docs` does, without running the notebooks, which have a test of their own."""
    code = (
        "from mkdocs.config import load_config; from mkdocs.commands.build import build;"
        f"c = load_config(r'{ROOT / 'mkdocs.yml'}', strict=True, site_dir=r'{tmp_path / 'site'}',"
        " extra={'generator': False, 'run_notebooks': False});"
        "c.plugins.on_startup(command='build', dirty=False); build(c)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=[\"']?https?:|<link[^>]+stylesheet[^>]+https?:|@import"
    )
    assert [p.name for p in pages if loads.search(p.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_notebook_runs(notebook: Path, hooks: ModuleType, tmp_path: Path) -> None:
    hooks.phantom_slides(tmp_path / "slides")
    executed = hooks.execute(notebook, tmp_path)
    assert all(not cell.get("outputs") for cell in hooks.nbformat.read(notebook, 4).cells), (
        "commit it without outputs"
    )
    assert any(cell.get("outputs") for cell in executed.cells)
