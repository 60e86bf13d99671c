"""Measure tissue detection and quality flags against phantoms of known truth.

    python benchmarks/tissue_phantoms.py [--n 30] [--quality 12] [--first 0] [--json] [--cache FOLDER]

Thresholds were chosen on seeds 0 to 29 (tissue) and 0 to 11 (flags); ``--first 30`` measures on seeds that
had no part in it.

Tissue: ``varied(seed)`` for n seeds; intersection over union of our polygons and the true outline, in level-0
pixels. The truth counts fat and tissue under pen as tissue, and leaves out holes that were torn.

Flags: ``varied(seed, quality=True)``; each cell of `assess` is one decision per flag. By the share of the
cell's true tissue that lies under the true artefact, a cell is positive above 0.5, negative below 0.05, and
counts as neither in between. Cells under 10 % true tissue are left out. Blur: a bubble is out of focus too,
so cells under 5 to 100 % bubble do not count for it. F1 is over the cells of all slides together.

Phantoms are written once into the cache (by default a folder of the system's temporary folder).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from coverslip.phantom import make, varied, write_slide
from coverslip.slides import open_slide
from coverslip.tissue import find_tissue
from coverslip.tissue.quality import assess

FLAGS = ("blur", "pen", "fold", "bubble")


def phantom_slide(seed: int, quality: bool, cache: Path) -> tuple[Any, Path]:
    """Return a phantom and its file, written if it is not there."""
    spec = varied(seed, quality=quality)
    phantom = make(spec, seed)
    shapes = [phantom.truth.tissue, *(p for kind in phantom.truth.artefacts.values() for p in kind)]
    content = repr((spec, seed)).encode() + b"".join(shape.wkb for shape in shapes)
    path = cache / f"phantom-{seed}-{hashlib.sha256(content).hexdigest()[:12]}.svs"
    if not path.exists():
        write_slide(phantom, path)
    return phantom, path


def tissue_row(seed: int, cache: Path) -> dict[str, Any]:
    """Measure one phantom's tissue."""
    phantom, path = phantom_slide(seed, False, cache)
    with open_slide(path) as slide:
        start = time.perf_counter()
        tissue = find_tissue(slide)
        seconds = time.perf_counter() - start
    truth = shapely.make_valid(phantom.truth.tissue)
    ours = shapely.union_all(tissue.polygons)
    both = truth.intersection(ours).area
    return {
        "seed": seed,
        "iou": both / (truth.area + ours.area - both),
        "missed": 1 - both / truth.area,
        "extra": ours.area / truth.area - both / truth.area,
        "seconds": seconds,
    }


def quality_row(seed: int, cache: Path) -> dict[str, Any]:
    """Count the right and wrong flags of one phantom."""
    phantom, path = phantom_slide(seed, True, cache)
    with open_slide(path) as slide:
        tissue = find_tissue(slide)
        start = time.perf_counter()
        quality = assess(slide, tissue)
        seconds = time.perf_counter() - start
    shares = true_shares(phantom, quality)
    counts = {}
    for flag in FLAGS:
        share = shares[flag]
        counted = (shares["tissue"] >= 0.1) & ((share > 0.5) | (share < 0.05))
        if flag == "blur":
            counted &= shares["bubble"] < 0.05
        truth, ours = share[counted] > 0.5, np.asarray(quality.cells[flag])[counted]
        counts[flag] = [int((truth & ours).sum()), int((~truth & ours).sum()), int((truth & ~ours).sum())]
    usable = float(quality.summary["usable_fraction"])
    return {"seed": seed, "counts": counts, "cells": len(quality), "usable": usable, "seconds": seconds}


def true_shares(phantom: Any, quality: Any) -> dict[str, np.ndarray]:
    """Return for each cell its share of true tissue, and each artefact's share of that."""
    cells = quality.cells
    x, y, side = (np.asarray(cells[name], float) for name in ("x", "y", "side_px"))
    squares = shapely.box(x, y, x + side, y + side)
    truth = shapely.make_valid(phantom.truth.tissue)
    shapely.prepare(truth)
    inside = shapely.intersection(squares, truth)
    area = shapely.area(inside)
    shares = {"tissue": area / side**2}
    for flag in FLAGS:
        artefact = shapely.union_all([shapely.make_valid(p) for p in phantom.truth.artefacts.get(flag, ())])
        under = shapely.area(shapely.intersection(inside, artefact))
        shares[flag] = under / np.maximum(area, 1e-9)
    return shares


def f1(counts: np.ndarray) -> float:
    """Return the F1 of (true positives, false positives, false negatives)."""
    hits, false, missed = counts
    return float(2 * hits / max(1, 2 * hits + false + missed))


def main() -> int:
    """Measure, print, and say whether the figures are reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=30, help="phantoms for tissue")
    parser.add_argument("--quality", type=int, default=12, help="phantoms for flags")
    parser.add_argument("--first", type=int, default=0, help="seed of the first phantom of both")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "coverslip-phantoms")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first, arguments.first + max(arguments.n, arguments.quality))
    tissue = [tissue_row(seed, arguments.cache) for seed in seeds[: arguments.n]]
    quality = [quality_row(seed, arguments.cache) for seed in seeds[: arguments.quality]]
    figures = summary(tissue, quality)
    if arguments.json:
        print(json.dumps({"figures": figures, "tissue": tissue, "quality": quality}, indent=1))
    else:
        table(tissue, quality, figures)
    return 0


def summary(tissue: list[dict[str, Any]], quality: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures."""
    figures: dict[str, float] = {}
    if tissue:
        iou = [row["iou"] for row in tissue]
        figures |= {"iou_mean": float(np.mean(iou)), "iou_worst": float(np.min(iou))}
        figures["tissue_seconds_median"] = float(np.median([row["seconds"] for row in tissue]))
    if quality:
        for flag in FLAGS:
            figures[f"f1_{flag}"] = f1(np.sum([row["counts"][flag] for row in quality], axis=0))
        figures["quality_seconds_median"] = float(np.median([row["seconds"] for row in quality]))
    return figures


def table(tissue: list[dict[str, Any]], quality: list[dict[str, Any]], figures: dict[str, float]) -> None:
    """Print for people."""
    for row in tissue:
        numbers = "  ".join(f"{name} {row[name]:.4f}" for name in ("iou", "missed", "extra", "seconds"))
        print(f"tissue  seed {row['seed']:2d}  {numbers}")
    for row in quality:
        counts = "  ".join(f"{flag} {'/'.join(map(str, row['counts'][flag]))}" for flag in FLAGS)
        print(f"quality seed {row['seed']:2d}  hit/false/missed: {counts}  {row['seconds']:.2f} s")
    for name, value in figures.items():
        print(f"{name:24s} {value:.4f}")


if __name__ == "__main__":
    sys.exit(main())
