"""From the network's maps to nuclei.

Peaks of the depth map propose stars, the best first; one that shares too much with a better one is dropped.
The stars part touching nuclei; the pixel map says where each ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

LEAST_SEED = 0.2
"""Where the smoothed depth is less, no star is ever proposed, and so none is worked out."""


@dataclass(frozen=True)
class Reading:
    """How maps are read; the values that ship were chosen on pictures kept from training.

    Attributes
    ----------
    seed
        Least depth, smoothed, at which a star is proposed; `LEAST_SEED` or more.
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
        (ceil(h / grid), ceil(w / grid), rays): pixels to the edge of the nucleus, where a star may begin.
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
    centres
        float64 (n, 2): x and y of the label's centroid; the centre of pixel (0, 0) is (0.5, 0.5).
    areas
        float64 (n,): pixels of the label.
    scores
        float32 (n,), 0 to 1.
    features
        float32 (n, d): what a network saw of each; None unless asked for.
    """

    labels: NDArray[np.int32]
    stars: NDArray[np.float32]
    centres: NDArray[np.float64]
    areas: NDArray[np.float64]
    scores: NDArray[np.float32]
    features: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def diameters(self) -> NDArray[np.float64]:
        """Of circles as large as the nuclei, in pixels, (n,)."""
        return np.sqrt(self.areas * (4 / np.pi))

    def take(self, keep: NDArray[np.bool_]) -> Self:
        """Return some of the nuclei, numbered anew."""
        number = np.zeros(len(self) + 1, np.int32)
        number[1:][keep] = np.arange(1, int(keep.sum()) + 1)
        return replace(
            self,
            labels=number[self.labels],
            stars=self.stars[keep],
            centres=self.centres[keep],
            areas=self.areas[keep],
            scores=self.scores[keep],
            features=None if self.features is None else self.features[keep],
        )

    def polygons(self) -> NDArray[Any]:
        """Return the outline of each nucleus as a shapely Polygon, (n,)."""
        import shapely

        return np.asarray(shapely.polygons(self.outlines().astype(np.float64)), object)

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


def read(maps: Maps, how: Reading, shape: tuple[int, int] | None = None) -> Found:
    """Find the nuclei in the maps of a picture; the same maps give the same nuclei.

    Parameters
    ----------
    shape
        (h, w) of the pixels in which the nuclei are wanted; None for those of the maps.
    """
    import cv2

    from coverslip.models.nuclei import kernels

    stars, depths = _proposed(maps, how)
    kept = np.empty(len(stars), np.int64)
    count = kernels.suppress(stars, maps.radii.shape[:2], float(maps.grid), how.share, kept)
    stars, depths = np.ascontiguousarray(stars[kept[:count]]), depths[kept[:count]]
    nucleus, factor = np.ascontiguousarray(maps.nucleus), 1.0
    if shape is not None and shape != nucleus.shape:
        factor = float(np.sqrt(shape[0] * shape[1] / nucleus.size))
        stars = _enlarged(stars, shape[1] / nucleus.shape[1], shape[0] / nucleus.shape[0])
        nucleus = np.asarray(cv2.resize(nucleus, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    labels = np.zeros(nucleus.shape, np.int32)
    near = np.full(nucleus.shape, np.inf, np.float32)
    kernels.cut(nucleus, stars, (how.pixel, how.reach), near, labels)
    sums = np.zeros((count, 4))
    kernels.sums(labels, nucleus, sums)
    areas, full = sums[:, 0], np.maximum(sums[:, :1], 1)
    scores = (sums[:, 3] / full[:, 0] * depths).astype(np.float32)
    found = Found(labels, stars, sums[:, 1:3] / full + 0.5, areas, scores)
    return found.take((areas >= max(1.0, how.smallest * factor**2)) & (scores >= how.score))


def _enlarged(stars: NDArray[np.float32], across: float, down: float) -> NDArray[np.float32]:
    """Return stars in pixels that are so many times smaller."""
    scaled = stars * np.float32(np.sqrt(across * down))
    scaled[:, 0] = (stars[:, 0] + 0.5) * across - 0.5
    scaled[:, 1] = (stars[:, 1] + 0.5) * down - 0.5
    return scaled


def smoothed(depth: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Return the depth at grid points, of whose peaks stars are proposed."""
    import cv2

    return np.ascontiguousarray(cv2.GaussianBlur(depth, (0, 0), 1.0)[::grid, ::grid], np.float32)


def _proposed(maps: Maps, how: Reading) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return proposed stars and the smoothed depth at their centres, the deepest first."""
    from coverslip.models.nuclei import kernels

    smooth = smoothed(maps.depth, maps.grid)
    places = np.empty((smooth.size, 2), np.int64)
    count = kernels.peaks(smooth, max(how.seed, LEAST_SEED), places)
    row, column = places[:count].T
    depth = smooth[row, column]
    order = np.argsort(-depth, kind="stable")
    row, column = row[order], column[order]
    centres = np.stack([column, row], axis=1).astype(np.float32) * maps.grid
    return np.concatenate([centres, maps.radii[row, column]], axis=1), depth[order]
