"""The stage stain knows which target it was given."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from coverslip.core.errors import StainError
from coverslip.pipeline.stages import StainStage
from coverslip.stain import load_target


def test_a_changed_target_changes_the_parameters(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    load_target("cmu-1").save(path)
    first = StainStage(target=str(path))
    assert str(first.target_digest).startswith("sha256:")
    assert StainStage(target=str(path)) == first
    load_target("nct-crc").save(path)
    assert asdict(StainStage(target=str(path))) != asdict(first)
    with pytest.raises(StainError, match="the recipe names"):
        StainStage(target=str(path), target_digest=first.target_digest)


def test_a_built_in_target_needs_no_digest() -> None:
    assert StainStage().target_digest is None
    with pytest.raises(StainError, match="the recipe names"):
        StainStage(target_digest="sha256:00")
