"""Synthetic slides shared by the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

APERIO = "Aperio Image Library v12\n{w}x{h} [0,0 {w}x{h}] (256x256) JPEG/RGB Q=80|AppMag = 20|MPP = 0.5"


def tissue_like(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colour with some structure: what JPEG is made for."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 250, (height // 16 + 2, width // 16 + 2, 3)).astype(np.float32)
    rows, columns = np.arange(height) / 16, np.arange(width) / 16
    i, j = rows.astype(int), columns.astype(int)
    u, v = (rows - i)[:, None, None], (columns - j)[None, :, None]
    top = coarse[i][:, j] * (1 - v) + coarse[i][:, j + 1] * v
    bottom = coarse[i + 1][:, j] * (1 - v) + coarse[i + 1][:, j + 1] * v
    return np.ascontiguousarray(np.rint(top * (1 - u) + bottom * u), dtype=np.uint8)


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    """700 × 900 pixels of colour."""
    return tissue_like(700, 900)


@pytest.fixture(scope="session")
def write_svs() -> Callable[..., Path]:
    """A function that writes an Aperio-style pyramid with JPEG tiles."""

    def write(path: Path, pixels: NDArray[np.uint8], *, steps: tuple[int, ...] = (1, 4)) -> Path:
        height, width = pixels.shape[:2]
        with tifffile.TiffWriter(path, bigtiff=True) as tif:
            for step in steps:
                tif.write(
                    np.ascontiguousarray(pixels[::step, ::step]),
                    tile=(128, 128),
                    compression="jpeg",
                    compressionargs={"level": 90},
                    photometric="rgb",
                    description=APERIO.format(w=width, h=height),
                    metadata=None,
                )
        return path

    return write


@pytest.fixture(scope="session")
def svs(
    tmp_path_factory: pytest.TempPathFactory, picture: NDArray[np.uint8], write_svs: Callable[..., Path]
) -> Path:
    """An Aperio-style slide of `picture`, levels 1 and 4."""
    return write_svs(tmp_path_factory.mktemp("svs") / "made.svs", picture)
