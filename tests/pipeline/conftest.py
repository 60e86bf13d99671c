"""Tiny slides, and the small stages that act on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # workers import `acting` by name


@pytest.fixture
def slides(tmp_path: Path) -> Callable[..., Path]:
    """Write small slides of the names given into a folder and return it."""
    import tifffile

    def write(*names: str) -> Path:
        folder = tmp_path / "slides"
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(names):
            pixels = np.full((40, 60, 3), 100 + 10 * number, np.uint8)
            tifffile.imwrite(folder / f"{name}.tif", pixels, photometric="rgb")
        return folder

    return write
