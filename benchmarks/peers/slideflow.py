"""Slideflow (Apache-2.0) with its libvips reader."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path = [
    entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent
]  # our name is its
sys.path.append(str(Path(__file__).parent))
os.environ.setdefault("SF_SLIDE_BACKEND", "libvips")
os.environ.setdefault("SF_BACKEND", "torch")

import numpy as np  # noqa: E402
from common import TILE, run  # noqa: E402


def _slide(wanted):
    import slideflow

    return slideflow.WSI(str(wanted.slide), tile_px=TILE, tile_um=int(TILE * wanted.mpp), verbose=False)


def tissue(wanted):
    """Otsu on its grid."""
    import slideflow  # noqa: F401 - its import is not what is timed
    from slideflow.slide import qc

    def work():
        slide = _slide(wanted)
        slide.qc(qc.Otsu())
        return int(slide.grid.sum())

    return work, "tiles"


def read(wanted):
    """Its tile generator; one worker reads in its own process, more are spawned inside the time."""
    from slideflow.slide import qc

    slide = _slide(wanted)
    slide.qc(qc.Otsu())
    most = len(np.load(wanted.coords))

    def work():
        tiles = slide.build_generator(
            shuffle=False, whitespace_fraction=1, grayspace_fraction=1, num_processes=wanted.workers,
            img_format="numpy", lazy_iter=True, apply_masks=False, max_tiles=most,
        )  # fmt: skip
        return sum(1 for _ in tiles())

    return work, "tiles"


if __name__ == "__main__":
    run({"tissue": tissue, "read": read})
