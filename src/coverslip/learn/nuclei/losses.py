"""What the network pays for: wrong pixels, wrong contours, wrong stars."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coverslip.models.nuclei.network import Outputs, radii, ways

CONTOUR_WEIGHT = 2.0
"""A contour pixel counts this much more than one that is none."""

STARS, WAYS, DEPTH = 1.0, 0.5, 2.0
"""Weights of these parts beside that of nucleus and contour."""


class Truth(NamedTuple):
    """Targets of a batch; fields as in `coverslip.learn.nuclei.targets.Target`.

    `planes` and `weight` have the batch in front; the others are joined, with `points` counted on through the
    crops of the batch.
    """

    planes: Tensor
    weight: Tensor
    points: Tensor
    radii: Tensor
    ways: Tensor
    depth: Tensor
    radius: Tensor


def loss(outputs: Outputs, truth: Truth) -> dict[str, Tensor]:
    """Return the parts of the loss; their sum is to be made small."""
    nucleus, contour, depth = outputs.planes.float().unbind(1)
    is_nucleus, is_contour, how_deep = truth.planes.unbind(1)
    weight = truth.weight
    by_pixel = _mean(_crossed(nucleus, is_nucleus), weight)
    by_contour = _mean(_crossed(contour, is_contour), weight * (1 + (CONTOUR_WEIGHT - 1) * is_contour))
    by_depth = _mean((torch.sigmoid(depth) - how_deep).abs(), weight)
    overlap = _dice(torch.sigmoid(nucleus), is_nucleus, weight) + _dice(
        torch.sigmoid(contour), is_contour, weight
    )
    stars = outputs.stars.permute(0, 2, 3, 1).flatten(0, 2)[truth.points]
    relative = 1 / truth.radius.clamp_min(2)
    far = (radii(stars) - truth.radii).abs().mean(1) * relative
    astray = (ways(stars) - truth.ways).abs().mean(1) * relative
    return {
        "nucleus": by_pixel,
        "contour": by_contour,
        "overlap": 0.5 * overlap,
        "depth": DEPTH * by_depth,
        "stars": STARS * _mean(far, truth.depth),
        "ways": WAYS * _mean(astray, truth.depth),
    }


def _crossed(logits: Tensor, truth: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1)


def _dice(probability: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the Dice loss over the whole batch, so that pictures without nuclei weigh nothing."""
    both = 2 * (probability * truth * weight).sum() + 1
    return 1 - both / ((probability * weight).sum() + (truth * weight).sum() + 1)
