"""Fit the pixel classifier that ships with Coverslip to phantoms.

It serves phantoms only, to try stage ``pixels``. Slides of people need one that was fitted to theirs.

    python benchmarks/phantom_pixels.py src/coverslip/models/pixels
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely

from coverslip.core import Box
from coverslip.models.pixels import features_of, fit_pixels
from coverslip.phantom import Phantom, PhantomSpec, make
from coverslip.stain import StainMatrix, estimate_background, fit

SEEDS = range(1000, 1018)
MPP = 2.0
TISSUE = ("stroma", "nest", "gland", "necrosis", "fibrosis", "fat")
PIXELS, VIEWS = 4000, 4  # pixels of each phantom, and how often they are looked at


def spec(seed: int) -> PhantomSpec:
    """Return one of many unlike phantoms."""
    rng = np.random.default_rng(seed)
    grown = rng.random() < 0.35
    shares = rng.dirichlet([1, 1, 1]) if grown else None
    return PhantomSpec(
        width=1500,
        height=1300,
        tissue_share=0.55,
        holes=0.5,
        tumour_share=0.0 if grown else rng.uniform(0.15, 0.6),
        necrosis=rng.choice([0.0, 0.3]),
        fibrosis=rng.choice([0.0, 0.3]),
        fatty=rng.choice([0.0, 0.2]),
        lymphocytes=rng.choice([1.0, 2.5]),
        glandular=1.0 if grown else 0.6,
        patterns=None if shares is None else tuple(shares / shares.sum()),
    )


def truth(phantom: Phantom, step: float) -> np.ndarray:
    """Class of each pixel of size `step`, index into `TISSUE`; -1 for none."""
    size = phantom.size
    x, y = np.meshgrid(np.arange(0.5, size.width / step) * step, np.arange(0.5, size.height / step) * step)
    flat = x.ravel(), y.ravel()

    def inside(shape) -> np.ndarray:
        shapely.prepare(shape)
        return shapely.contains_xy(shape, *flat)

    tissue = inside(phantom.truth.tissue.buffer(-8))
    glands = shapely.union_all([shapely.Polygon(gland.exterior) for gland in phantom.truth.glands])
    parts = np.where(phantom.truth.in_nest(*flat), 1, 0)
    for number, shape in (
        (2, glands),
        (3, phantom.truth.necrosis),
        (4, phantom.truth.fibrosis),
        (5, phantom.truth.fat),
    ):
        parts[inside(shape)] = number
    return np.where(tissue, parts, -1).reshape(x.shape)


def sampled(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and classes of some pixels of a phantom, as several fits of its stains would see it."""
    phantom, rng = make(spec(seed), seed), np.random.default_rng(seed)
    step = MPP / phantom.spec.mpp
    rgb, fine = (phantom.render(Box(0, 0, *phantom.size), scale) for scale in (step, 1))
    labels = truth(phantom, step)
    rows = np.argwhere(labels >= 0)
    rows = rows[rng.permutation(len(rows))[:PIXELS]]
    found = []
    for number in range(VIEWS):
        look = (fine[::3, ::3], rgb)[number % 2]
        stains = shaken(fit("macenko", look.reshape(-1, 3), estimate_background(look)), rng)
        found.append(features_of(rgb, MPP, stains)[rows[:, 0], rows[:, 1]])
    return np.concatenate(found), np.tile(labels[rows[:, 0], rows[:, 1]], VIEWS)


def shaken(stains: StainMatrix, rng: np.random.Generator) -> StainMatrix:
    """Return stains as another fit might have found them: turned towards each other, of other strengths."""
    one, other = stains.array[:2]
    turn = rng.normal(0, 0.06, 2)
    vectors = np.clip([one + turn[0] * other, other + turn[1] * one], 0.01, None)
    strengths = np.array(stains.max_concentrations[:2]) * np.exp(rng.normal(0, 0.1, 2))
    rows = tuple(tuple(row) for row in vectors.tolist())
    return StainMatrix(stains.names[:2], rows, tuple(strengths.tolist()), stains.background)


def main(folder: Path) -> None:
    """Fit the model and write it into a folder."""
    features, labels = (np.concatenate(part) for part in zip(*map(sampled, SEEDS), strict=True))
    # types of tissue are as frequent as they are, so that areas come out right
    model = fit_pixels(features, labels, classes=TISSUE, name="phantom-pixels", mpp=MPP, balanced=False)
    right = model.probabilities(features).argmax(axis=1) == labels
    print([round(right[labels == c].mean(), 3) for c in range(len(TISSUE))], flush=True)
    said = f"Fitted to phantoms of seeds {SEEDS[0]} to {SEEDS[-1]}; for phantoms only."
    replace(model, description=said).save(folder / "phantom-pixels.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
