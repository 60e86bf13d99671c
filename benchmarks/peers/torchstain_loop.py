"""torchstain (MIT): Macenko tile by tile."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import numpy as np
from common import run


def stain(wanted):
    """Normalise each tile with a matrix of its own, in torch."""
    import torch
    import torchstain

    torch.set_num_threads(1)
    tiles = [torch.from_numpy(tile).permute(2, 0, 1).float() for tile in np.load(wanted.coords)]
    normaliser = torchstain.normalizers.MacenkoNormalizer(backend="torch")
    normaliser.fit(tiles[0])

    def work():
        return sum(1 for tile in tiles if normaliser.normalize(I=tile, stains=False) is not None)

    return work, "tiles"


if __name__ == "__main__":
    run({"stain": stain})
