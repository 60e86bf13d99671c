"""Stain vectors found on phantom slides, and the speed of normalisation beside torchstain's.

    python benchmarks/stain.py [--slides 20]

Prints the angle between the vectors found and the true ones for Macenko and Vahadane on varied phantom
slides (resections, biopsies, fat, faint, pen), then the CPU milliseconds per 256 px tile of every
normaliser. torchstain is timed when it is installed (``pip install torchstain``); its transform fits every
tile anew, ours once a slide.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box
from coverslip.core.errors import StainError
from coverslip.phantom import Phantom, make, varied
from coverslip.stain import METHODS, Normaliser, StainMatrix, estimate_background, fit, load_target

TILE = 256
SAMPLED = 16
"""Squares of 256 px that a fit sees of a slide."""


def tissue_pixels(phantom: Phantom, seed: int) -> NDArray[np.uint8]:
    """Return squares (n, 256, 256, 3) whose middle is tissue, at random places."""
    import shapely

    rng = np.random.default_rng(seed)
    left, top, right, bottom = phantom.truth.tissue.bounds
    places = np.column_stack([rng.uniform(left, right, 4000), rng.uniform(top, bottom, 4000)])
    inside = shapely.contains_xy(phantom.truth.tissue, places)
    boxes = [Box(int(x) - TILE // 2, int(y) - TILE // 2, TILE, TILE) for x, y in places[inside][:SAMPLED]]
    return np.stack([phantom.render(box) for box in boxes])


def angles(slides: int) -> None:
    """Print how far the vectors found are from the true ones."""
    found: dict[str, list[float]] = {"macenko": [], "vahadane": []}
    print("slide  macenko H, E       vahadane H, E      (degrees)")
    for seed in range(slides):
        phantom = make(varied(seed), seed)
        truth = StainMatrix(tuple(phantom.truth.stains), tuple(phantom.truth.stains.values()))
        whole = phantom.render(Box(0, 0, *phantom.size), downsample=16)
        pixels = tissue_pixels(phantom, seed)
        line = f"{seed:5}"
        for name, off in found.items():
            try:
                off.extend(fit(name, pixels, estimate_background(whole)).angles_to(truth))
                line += f"  {off[-2]:5.2f} {off[-1]:5.2f}     "
            except StainError as error:
                line += f"  refused: {error.message}"
        print(line)
    for name, off in found.items():
        fitted = f"{len(off) // 2} of {slides} slides fitted"
        print(f"{name}: mean {statistics.mean(off):.2f}°, worst {max(off):.2f}°, {fitted}")


def milliseconds(work: Callable[[], object], repeats: int = 15) -> float:
    """Return the median CPU time of `work`."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times)


def speed() -> None:
    """Print the time per tile of each normaliser, of torchstain's, and of copying the tile."""
    import cv2

    cv2.setNumThreads(1)
    tiles = tissue_pixels(make(varied(0), 0), 0)
    out = np.empty_like(tiles)
    copy = milliseconds(lambda: np.copyto(out, tiles)) / len(tiles)
    print(f"\n{'copying a tile':30}{copy:8.3f} ms")
    ours: dict[str, float] = {}
    for name in METHODS:
        learn = milliseconds(lambda name=name: fit(name, tiles), 3)
        normaliser = Normaliser.to_target(name, fit(name, tiles), load_target("nct-crc"))
        ours[name] = milliseconds(lambda n=normaliser: n.apply(tiles, out)) / len(tiles)
        print(f"{'coverslip ' + name:30}{ours[name]:8.3f} ms a tile   fit of a slide {learn:6.1f} ms")
    if importlib.util.find_spec("torchstain") is None:
        print("torchstain is not installed: pip install torchstain")
        return
    theirs = torchstain_macenko(tiles)
    times = f"{theirs / ours['macenko']:.0f} times ours"
    print(f"{'torchstain macenko (torch)':30}{theirs:8.3f} ms a tile   {times}")


def torchstain_macenko(tiles: NDArray[np.uint8]) -> float:
    """Return torchstain's milliseconds per tile."""
    import torch
    import torchstain

    torch.set_num_threads(1)
    normaliser = torchstain.normalizers.MacenkoNormalizer(backend="torch")
    planes = [torch.from_numpy(tile.transpose(2, 0, 1).copy()) for tile in tiles[:4]]
    normaliser.fit(planes[0])
    return milliseconds(lambda: [normaliser.normalize(I=p, stains=False) for p in planes], 5) / len(planes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=20)
    angles(parser.parse_args().slides)
    speed()
