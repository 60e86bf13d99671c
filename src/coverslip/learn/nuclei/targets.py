"""From a label image to what the network is to say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.nuclei import kernels
from coverslip.models.nuclei.layout import GRID, RAYS

USUAL_AREA = 380.0
"""Pixels of a nucleus whose pixels count once; those of smaller nuclei count more, of larger ones less."""

STARS = 400
"""Grid points of a crop at which stars are learnt: neighbours say nearly the same."""


@dataclass(frozen=True)
class Target:
    """Truth of a crop, float32.

    Attributes
    ----------
    planes
        (3, h, w): nucleus, contour, depth; as `coverslip.models.nuclei.network.Outputs` orders them.
    weight
        (h, w): of a pixel in the loss; 0 outside the picture.
    points
        int64 (k,): grid points inside nuclei at which stars are learnt, counted along the rows of the grid.
    radii, ways
        (k, RAYS) and (k, 2): pixels to the edge, and to the centre, from each of the points.
    depth
        (k,): weight of each star, so that they are learnt best where they are read.
    radius
        (k,): of the circle as large as the nucleus.
    """

    planes: NDArray[np.float32]
    weight: NDArray[np.float32]
    points: NDArray[np.int64]
    radii: NDArray[np.float32]
    ways: NDArray[np.float32]
    depth: NDArray[np.float32]
    radius: NDArray[np.float32]


def target(
    labels: NDArray[np.int32], inside: NDArray[np.bool_], margin: int, rng: np.random.Generator
) -> Target:
    """Draw the truth of a crop from labels with a margin around it, which tells how nuclei go on.

    Parameters
    ----------
    labels
        (h + 2 margin, w + 2 margin), 0 = no nucleus.
    inside
        Likewise: True where the picture is.
    margin
        Pixels on each side, a multiple of `GRID`.
    rng
        Chooses the points.
    """
    import cv2

    edge = np.zeros(labels.shape, np.uint8)
    kernels.contours(labels, edge)
    nucleus = labels > 0
    depth = cv2.distanceTransform((nucleus & (edge == 0)).astype(np.uint8), cv2.DIST_L2, 5) + nucleus
    facts = np.zeros((int(labels.max()) + 1, 5))
    kernels.objects(labels, depth, facts)
    facts[0] = 1
    depth = (depth / facts[labels, 1] * nucleus).astype(np.float32)
    crop = (slice(margin, labels.shape[0] - margin), slice(margin, labels.shape[1] - margin))
    points = _points((nucleus & inside)[crop], rng)
    at = points * GRID + margin
    own = labels[at[:, 1], at[:, 0]]
    reach = np.zeros((len(points), RAYS), np.float32)
    kernels.radii(labels, at, kernels.directions(RAYS), reach)
    centre = facts[own, 2:4] / facts[own, 4:5]
    return Target(
        planes=np.stack([nucleus, edge > 0, depth]).astype(np.float32)[:, *crop],
        weight=(inside * _importance(facts)[labels]).astype(np.float32)[crop],
        points=points @ np.array([1, (labels.shape[1] - 2 * margin) // GRID]),
        radii=reach,
        ways=(centre - at).astype(np.float32),
        depth=depth[at[:, 1], at[:, 0]],
        radius=np.sqrt(facts[own, 0] / np.pi).astype(np.float32),
    )


def _points(nucleus: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose grid points (k, 2) as (x, y) inside nuclei."""
    points = np.argwhere(nucleus[::GRID, ::GRID])[:, ::-1]
    if len(points) > STARS:
        points = points[rng.choice(len(points), STARS, replace=False)]
    return points


def _importance(facts: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = np.clip(np.sqrt(USUAL_AREA / np.maximum(facts[:, 0], 1)), 0.6, 2.5)
    weight[0] = 1
    return weight
