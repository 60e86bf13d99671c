"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from coverslip.core.files import PARTIAL, atomic


def _broken_off(path: Path) -> None:
    with atomic(path) as partial:
        partial.write_text("half")
        raise RuntimeError


def test_what_was_broken_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        _broken_off(path)
    assert path.read_text() == "old"
    assert not [file for file in tmp_path.iterdir() if PARTIAL in file.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    plain = tmp_path / "plain.txt"
    plain.write_text("")
    with atomic(tmp_path / "weights.safetensors") as partial:
        safetensors.save_file({"a": np.zeros(2)}, partial)
    assert (tmp_path / "weights.safetensors").stat().st_mode == plain.stat().st_mode
