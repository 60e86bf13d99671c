"""Batches for training, each a function of seed and step alone, so that a resumed run repeats them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from coverslip.learn.nuclei.augment import Picture, crop, recolour
from coverslip.learn.nuclei.losses import Truth
from coverslip.learn.nuclei.targets import Target, target
from coverslip.models.nuclei.layout import GRID

SHARES: Mapping[str, float] = {"histology": 0.50, "fluorescence": 0.42, "brightfield": 0.08}
"""How often a crop is of each kind of picture, unless said otherwise."""

MARGIN = 24
"""Pixels around a crop from which its truth is drawn, so that nuclei cut by it keep their shape."""


def batch(
    pictures: Sequence[Picture],
    count: int,
    size: int,
    *,
    seed: int,
    step: int,
    shares: Mapping[str, float] = SHARES,
) -> tuple[torch.Tensor, Truth]:
    """Return `count` crops of `size` pixels a side and their truth; `shares` as `SHARES`."""
    rng = np.random.default_rng((seed, step))
    kinds = sorted({p.kind for p in pictures})
    share = np.array([shares[k] for k in kinds])
    by_kind = {k: [p for p in pictures if p.kind == k] for k in kinds}
    pixels, truths = [], []
    for kind in rng.choice(kinds, count, p=share / share.sum()):
        chosen = by_kind[kind][rng.integers(len(by_kind[kind]))]
        one = crop(chosen, size + 2 * MARGIN, rng)
        inner = one.pixels[MARGIN:-MARGIN, MARGIN:-MARGIN]
        pixels.append(recolour(inner, str(kind), rng))
        truths.append(target(one.labels, one.inside, MARGIN, rng))
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    return stacked.contiguous(memory_format=torch.channels_last), _stacked(truths)


def _stacked(truths: Sequence[Target]) -> Truth:
    height, width = (side // GRID for side in truths[0].weight.shape)
    points = np.concatenate([t.points + i * height * width for i, t in enumerate(truths)])
    joined = {
        n: np.concatenate([getattr(t, n) for t in truths]) for n in ("radii", "ways", "depth", "radius")
    }
    stacked = {n: np.stack([getattr(t, n) for t in truths]) for n in ("planes", "weight")}
    arrays = {"points": points} | joined | stacked
    return Truth(*(torch.from_numpy(arrays[name]) for name in Truth._fields))
