"""From the network's maps to nuclei.

Peaks of the depth map propose stars, the best first; one that shares too much with a better one is dropped.
The stars part touching nuclei; the pixel map says where each ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reading:
    """How maps are read; the values that ship were chosen on pictures kept from training.

    Attributes
    ----------
    seed
        Least depth, smoothed, at which a star is proposed.
    share
        Of the smaller of two stars, how much they may have in common.
    pixel
        Least probability of a pixel of a nucleus.
    reach
        How many radii from its star's centre a pixel may lie.
    score
        Least score of a nucleus: the mean of its pixels' probability, times its star's depth.
    smallest
        Least pixels of a nucleus.
    """

    seed: float = 0.4
    share: float = 0.4
    pixel: float = 0.5
    reach: float = 1.25
    score: float = 0.4
    smallest: float = 12.0


@dataclass(frozen=True)
class Maps:
    """What the network says of a picture, float32, on the picture's own pixels.

    Attributes
    ----------
    nucleus, depth
        (h, w), 0 to 1.
    radii
        (ceil(h / grid), ceil(w / grid), rays): pixels to the edge of the nucleus.
    grid
        Pixels from one star to the next.
    """

    nucleus: NDArray[np.float32]
    depth: NDArray[np.float32]
    radii: NDArray[np.float32]
    grid: int


@dataclass(frozen=True)
class Found:
    """Nuclei of a picture.

    Attributes
    ----------
    labels
        int32 (h, w): 0, or the number of the nucleus from 1 on.
    stars
        float32 (n, 2 + rays): x and y of the star's centre as a pixel's index, then its radii, in pixels.
    areas
        (n,): pixels of the label.
    scores
        float32 (n,), 0 to 1.
    """

    labels: NDArray[np.int32]
    stars: NDArray[np.float32]
    areas: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.stars)

    @property
    def diameters(self) -> NDArray[np.float64]:
        """Of circles as large as the nuclei, in pixels, (n,)."""
        return np.sqrt(self.areas * (4 / np.pi))

    def take(self, keep: NDArray[np.bool_]) -> Found:
        """Return some of the nuclei, numbered anew."""
        number = np.zeros(len(self) + 1, np.int32)
        number[1:][keep] = np.arange(1, int(keep.sum()) + 1)
        return Found(number[self.labels], self.stars[keep], self.areas[keep], self.scores[keep])

    def outlines(self) -> NDArray[np.float32]:
        """Return the outline of each nucleus, (n, rays, 2) as (x, y); pixel (0, 0) reaches from 0 to 1."""
        from coverslip.models.nuclei import kernels

        rays = self.stars.shape[1] - 2
        out = np.empty((len(self), rays, 2), np.float32)
        kernels.outlines(np.ascontiguousarray(self.labels), self.stars, directions(rays), out)
        return out


def directions(rays: int) -> NDArray[np.float32]:
    """Return the unit vectors (rays, 2) as (x, y) in which radii are counted, from (1, 0) towards (0, 1)."""
    angle = np.arange(rays) * (2 * np.pi / rays)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def read(maps: Maps, how: Reading) -> Found:
    """Find the nuclei in the maps of a picture; the same maps give the same nuclei."""
    from coverslip.models.nuclei import kernels

    stars, depths = _proposed(maps, how)
    kept = np.empty(len(stars), np.int64)
    canvas = maps.radii.shape[:2]
    count = kernels.suppress(stars, canvas, float(maps.grid), how.share, kept)
    stars, depths = np.ascontiguousarray(stars[kept[:count]]), depths[kept[:count]]
    labels = np.zeros(maps.nucleus.shape, np.int32)
    near = np.full(maps.nucleus.shape, np.inf, np.float32)
    kernels.cut(np.ascontiguousarray(maps.nucleus), stars, (how.pixel, how.reach), near, labels)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    sums = np.bincount(labels.ravel(), maps.nucleus.ravel(), minlength=count + 1)[1:]
    scores = (sums / np.maximum(areas, 1) * depths).astype(np.float32)
    found = Found(labels, stars, areas, scores)
    return found.take((areas >= how.smallest) & (scores >= how.score))


def _proposed(maps: Maps, how: Reading) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return proposed stars and the smoothed depth at their centres, the deepest first."""
    import cv2

    from coverslip.models.nuclei import kernels

    smooth = cv2.GaussianBlur(maps.depth, (0, 0), 1.0)[:: maps.grid, :: maps.grid]
    places = np.empty((smooth.size, 2), np.int64)
    count = kernels.peaks(np.ascontiguousarray(smooth), how.seed, places)
    row, column = places[:count].T
    depth = smooth[row, column]
    order = np.argsort(-depth, kind="stable")
    row, column = row[order], column[order]
    centres = np.stack([column, row], axis=1).astype(np.float32) * maps.grid
    return np.concatenate([centres, maps.radii[row, column]], axis=1), depth[order]
