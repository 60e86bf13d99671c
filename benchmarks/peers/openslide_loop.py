"""A plain OpenSlide loop (LGPL-2.1), as most packages read: one `read_region` a tile, through PIL."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import numpy as np
from common import TILE, run


def read(wanted):
    """Read tiles with one handle a thread."""
    import openslide

    corners = np.load(wanted.coords)

    def part(rows):
        slide = openslide.OpenSlide(str(wanted.slide))
        for x, y in rows:
            np.asarray(slide.read_region((int(x), int(y)), 0, (TILE, TILE)).convert("RGB"))
        return len(rows)

    def work():
        with ThreadPoolExecutor(wanted.workers) as pool:
            return sum(pool.map(part, np.array_split(corners, wanted.workers)))

    return work, "tiles"


if __name__ == "__main__":
    run({"read": read})
