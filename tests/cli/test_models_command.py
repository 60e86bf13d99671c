"""``coverslip models``: cards as tables and JSON, and weights fetched on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coverslip.models import MODELS


def test_the_list_has_every_card(coverslip: Callable, tmp_path: Path) -> None:
    said = coverslip("models", "list", "--cache", tmp_path)
    assert said.code == 0
    names = {line.split()[0] for line in said.out.splitlines()[1:]}
    assert names == set(MODELS)
    values = json.loads(coverslip("models", "list", "--cache", tmp_path, "--json").out)
    uni = next(card for card in values if card["id"] == "uni")
    assert (uni["dim"], uni["restricted"], uni["fetched"]) == (1024, True, "")


def test_a_card_is_shown(coverslip: Callable, tmp_path: Path) -> None:
    said = coverslip("models", "show", "virchow2", "--cache", tmp_path)
    assert "class+mean" in said.out
    assert "CC-BY-NC-ND-4.0" in said.out
    wrong = coverslip("models", "show", "virchow3")
    assert wrong.code == 2
    assert "did you mean" in wrong.err


def test_a_restricted_licence_must_be_accepted(coverslip: Callable, tmp_path: Path) -> None:
    said = coverslip("models", "fetch", "uni", "--cache", tmp_path, "--endpoint", "http://127.0.0.1:9")
    assert said.code == 2
    assert "--accept-licence" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_taken_into_the_cache(coverslip: Callable, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')
    save_file = pytest.importorskip("safetensors.torch", reason="safetensors is not installed").save_file
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors")
    cache = tmp_path / "cache"
    said = coverslip(
        "models", "fetch", "uni", "--accept-licence", "--from", tmp_path / "a.safetensors", "--cache", cache
    )
    assert said.out.strip() == str(cache / "uni" / "weights.safetensors")
    listed = coverslip("models", "list", "--cache", cache).out
    line = next(line for line in listed.splitlines() if line.startswith("uni "))
    assert line.endswith("yes")
    again = json.loads(coverslip("models", "fetch", "uni", "--cache", cache, "--json").out)
    assert again["licence"] == "CC-BY-NC-ND-4.0"
    (cache / "uni" / "fetched.json").write_text("{")
    assert "damaged" in coverslip("models", "list", "--cache", cache).out


def test_what_cannot_be_fetched_says_so(coverslip: Callable, tmp_path: Path) -> None:
    for name, why in (("titan", "cannot be run by Coverslip"), ("mean", "has no weights")):
        said = coverslip("models", "fetch", name, "--cache", tmp_path)
        assert said.code == 2
        assert why in said.err
    said = coverslip("models", "fetch", "resnet18", "--cache", tmp_path, "--token-file", tmp_path / "none")
    assert said.code == 2
    assert "cannot be read" in said.err
