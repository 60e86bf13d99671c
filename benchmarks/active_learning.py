"""What a queue of tiles to label gains over labelling at random, on phantoms.

    python benchmarks/active_learning.py [--repeats 20] [--picture FILE.svg] [--json FILE]

Tiles of phantom slides have one of six classes of tissue, some of them rare. A logistic regression on stain
and texture learns from a few labels, asks for the next ones, and so on; it is judged on tiles of other
slides. The orders: at random, as one labels who takes tiles as they come; by doubt alone; and by doubt and
spread, which is what the viewer's queue does (`coverslip.learn.active`). All orders begin with the same
tiles and are judged on the same ones; nothing of the queue was chosen by these figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from coverslip.core import Box
from coverslip.learn.active import next_to_label, uncertainty
from coverslip.models.pixels import features_of
from coverslip.phantom import PhantomSpec, make
from coverslip.stain import estimate_background, fit

CLASSES = ("stroma", "nest", "gland", "necrosis", "fibrosis", "fat")
POOL, HELD = range(2000, 2012), range(3000, 3008)
"""Seeds of the slides that are labelled, and of those that are judged."""

MPP, SIDE = 2.0, 24
"""Tiles of 48 µm."""

PURE = 0.6
"""Least share of a tile that its class covers."""

BEGIN, STEP, ROUNDS = 12, 12, 12

Rows = NDArray[np.intp]
Order = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], np.random.Generator], Rows]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Features (n, d) and classes (n,) of tiles."""

    features: NDArray[np.float64]
    labels: NDArray[np.intp]


def tiles_of(seeds: range) -> Tiles:
    """Return the tiles of phantoms that are mostly of one class."""
    parts = [_of_one(seed) for seed in seeds]
    return Tiles(np.concatenate([f for f, _ in parts]), np.concatenate([c for _, c in parts]))


def _of_one(seed: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    spec = PhantomSpec(
        width=1600, height=1300, tissue_share=0.6, holes=0.0, tumour_share=rng.uniform(0.15, 0.4),
        necrosis=0.1, fibrosis=0.1, fatty=rng.uniform(0.02, 0.1), lymphocytes=rng.choice([1.0, 2.5]),
    )  # fmt: skip
    phantom = make(spec, seed)
    step = MPP / spec.mpp
    rgb = phantom.render(Box(0, 0, *phantom.size), step)
    stains = fit("macenko", rgb.reshape(-1, 3), estimate_background(rgb))
    pixels = features_of(rgb, MPP, stains)
    shares = np.stack([_cells(truth) for truth in _truth(phantom, rgb.shape[:2], step)])
    mean, spread = _cells(pixels), np.sqrt(np.maximum(_cells(pixels**2) - _cells(pixels) ** 2, 0))
    best = shares.argmax(axis=0)
    pure = shares.max(axis=0) >= PURE
    return np.concatenate([mean, spread], axis=-1)[pure].astype(np.float64), best[pure]


def _cells(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean over each tile: (h, w[, d]) to (rows, columns[, d])."""
    rows, columns = values.shape[0] // SIDE, values.shape[1] // SIDE
    cut = values[: rows * SIDE, : columns * SIDE]
    return cut.reshape(rows, SIDE, columns, SIDE, *values.shape[2:]).mean(axis=(1, 3))


def _truth(phantom: object, shape: tuple[int, ...], step: float) -> list[NDArray[np.float32]]:
    """Return per class which pixels are of it; later classes lie over earlier ones."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    x, y = ((x + 0.5) * step).ravel(), ((y + 0.5) * step).ravel()
    truth = phantom.truth
    glands = shapely.union_all([shapely.Polygon(gland.exterior) for gland in truth.glands])
    found = np.where(truth.in_nest(x, y), 1, 0)
    for code, area in ((2, glands), (3, truth.necrosis), (4, truth.fibrosis), (5, truth.fat)):
        shapely.prepare(area)
        found[shapely.contains_xy(area, x, y)] = code
    shapely.prepare(truth.tissue)
    found[~shapely.contains_xy(truth.tissue, x, y)] = -1
    return [(found == code).reshape(shape).astype(np.float32) for code in range(len(CLASSES))]


# ---------------------------------------------------------------------- orders
def at_random(
    _chances: object, _features: object, labelled: NDArray[np.bool_], rng: np.random.Generator
) -> Rows:
    """Take tiles as they come."""
    return rng.permutation(np.flatnonzero(~labelled))[:STEP]


def by_doubt(
    chances: NDArray[np.float64], _features: object, labelled: NDArray[np.bool_], _rng: object
) -> Rows:
    """Take the tiles of which the model is least sure."""
    return next_to_label(uncertainty(chances), None, labelled, count=STEP)


def by_queue(
    chances: NDArray[np.float64], features: NDArray[np.float64], labelled: NDArray[np.bool_], _rng: object
) -> Rows:
    """Take what the viewer's queue asks for."""
    return next_to_label(uncertainty(chances), features, labelled, count=STEP)


ORDERS: dict[str, Order] = {"at random": at_random, "doubt alone": by_doubt, "queue": by_queue}


def curve(order: Order, pool: Tiles, held: Tiles, seed: int) -> list[float]:
    """Return the balanced accuracy on other slides after each round."""
    rng = np.random.default_rng(seed)
    labelled = np.zeros(len(pool.labels), bool)
    labelled[rng.permutation(len(labelled))[:BEGIN]] = True
    scores = []
    for _ in range(ROUNDS + 1):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=400))
        if len(np.unique(pool.labels[labelled])) < 2:  # nothing to learn yet
            chances, said = np.ones((len(labelled), 2)), np.zeros(len(held.labels))
        else:
            model.fit(pool.features[labelled], pool.labels[labelled])
            chances, said = model.predict_proba(pool.features), model.predict(held.features)
        scores.append(float(balanced_accuracy_score(held.labels, said)))
        labelled[order(chances, pool.features, labelled, rng)] = True
    return scores


def interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean over repetitions."""
    means = rng.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def reached(curves: NDArray[np.float64], level: float) -> int | None:
    """Return how many labels the mean curve needs for a level; None when it never gets there."""
    hit = np.flatnonzero(curves.mean(axis=0) >= level - 1e-9)
    return int(BEGIN + STEP * hit[0]) if len(hit) else None


def main() -> None:
    """Print the table, and draw the curves."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    pool, held = tiles_of(POOL), tiles_of(HELD)
    counts = {name: int((pool.labels == code).sum()) for code, name in enumerate(CLASSES)}
    print(f"{len(pool.labels)} tiles to label ({counts}), {len(held.labels)} judged", flush=True)
    found = {
        name: np.array([curve(order, pool, held, seed) for seed in range(asked.repeats)])
        for name, order in ORDERS.items()
    }
    rng = np.random.default_rng(0)
    last = found["at random"][:, -1].mean()
    for name, curves in found.items():
        cells = []
        for labels in (24, 48, 96, BEGIN + STEP * ROUNDS):
            low, high = interval(curves[:, (labels - BEGIN) // STEP], rng)
            cells.append(f"{curves[:, (labels - BEGIN) // STEP].mean():.3f} ({low:.3f}-{high:.3f})")
        print(f"{name:12} {'  '.join(cells)}  labels for {last:.3f}: {reached(curves, last)}", flush=True)
    gain = found["queue"].mean(axis=1) - found["at random"].mean(axis=1)
    low, high = interval(gain, rng)
    print(f"queue less random, mean over the curve, paired: {gain.mean():+.3f} ({low:+.3f} to {high:+.3f})")
    if asked.json:
        asked.json.write_text(json.dumps({name: curves.tolist() for name, curves in found.items()}))
    if asked.picture:
        draw(found, asked.picture)


WIDE, HIGH, LEFT, BOTTOM = 640, 380, 56, 44
"""Of the picture, and of its axes' room, in pixels."""


def draw(found: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Draw the mean curves with their 95 % intervals as SVG."""
    rng = np.random.default_rng(0)
    last = BEGIN + STEP * ROUNDS
    parts: list[str] = []

    def place(labels: float, score: float) -> str:
        x = LEFT + (WIDE - LEFT - 110) * (labels - BEGIN) / (last - BEGIN)
        return f"{x:.1f},{HIGH - BOTTOM - (HIGH - BOTTOM - 16) * (score - 0.2) / 0.6:.1f}"

    for score in (0.2, 0.4, 0.6, 0.8):
        x, y = place(BEGIN, score).split(",")
        parts.append(
            f'<path d="M{x},{y}H{WIDE - 110}" stroke="#ddd"/><text x="14" y="{float(y) + 4}">{score}</text>'
        )
    parts += [
        f'<text x="{float(place(labels, 0).split(",")[0]) - 8:.0f}" y="{HIGH - 24}">{labels}</text>'
        for labels in range(BEGIN, last + 1, 36)
    ]
    for (name, curves), colour in zip(found.items(), ("#767676", "#D55E00", "#0072B2"), strict=True):
        at = BEGIN + STEP * np.arange(ROUNDS + 1)
        low, high = np.array([interval(column, rng) for column in curves.T]).T
        band = [place(*pair) for pair in zip(at, high, strict=True)]
        band += [place(*pair) for pair in zip(at[::-1], low[::-1], strict=True)]
        line = " ".join(place(*pair) for pair in zip(at, curves.mean(axis=0), strict=True))
        x, y = place(last, curves[:, -1].mean()).split(",")
        parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" opacity=".18"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{float(x) + 8}" y="{float(y) + 4}" fill="{colour}">{name}</text>')
    said = "balanced accuracy on other slides, by number of labelled tiles"
    parts.append(f'<text x="{LEFT}" y="{HIGH - 6}">{said}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" '
    path.write_text(
        head + f'font-size="13" fill="#333" role="img" aria-label="{said}">{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    main()
