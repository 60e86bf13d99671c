"""Tiles that look alike: a map of a slide that nobody had to label.

Features are scaled robustly (median and interquartile range, cut off at ± 5), turned by PCA to the axes that
hold 90 % of the variance, and grouped by k-means from a fixed seed. The number of groups is given, not
guessed; fewer come out when fewer tiles differ. Groups are ordered, so that tissue tends to keep its colour.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import UsageError

CLUSTERS = 8
"""Groups looked for: as many as a person tells apart by colour."""

OUTLIER = 5.0
"""Robust standard deviations at which a feature is cut off, so that no single one owns a group."""

VARIANCE, MOST_AXES = 0.9, 20
"""Share of the variance kept by PCA, and the axes it may take."""

FITTED = 20_000
"""Tiles that k-means looks at; of more, a fixed random choice. All are labelled."""

EXAMPLES = 5
"""Tiles shown for a group."""

TRAITS = 3
"""Features named for a group."""


@dataclass(frozen=True)
class Lookalike:
    """Groups of tiles.

    Attributes
    ----------
    labels
        int16 (n,): the group of each tile, from 0.
    centres
        float32 (k, d): mean features of each group, in the features' own units.
    names
        ``"A"``, ``"B"`` … per group.
    examples
        Per group, rows of the tiles nearest its middle, nearest first.
    traits
        Per group, the features furthest from the slide's median, as (name, robust standard deviations); empty
        when the features have no names.
    """

    labels: NDArray[np.int16]
    centres: NDArray[np.float32]
    names: tuple[str, ...]
    examples: tuple[tuple[int, ...], ...]
    traits: tuple[tuple[tuple[str, float], ...], ...]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Tiles per group."""
        return np.bincount(self.labels, minlength=len(self.names))


def lookalike(
    features: NDArray[np.floating],
    *,
    clusters: int = CLUSTERS,
    names: Sequence[str] = (),
    order_by: ArrayLike | None = None,
    seed: int = 0,
) -> Lookalike:
    """Group tiles that look alike.

    Parameters
    ----------
    features
        (n, d), finite.
    clusters
        Groups looked for, 1 … 26.
    names
        Of the d features, for the traits.
    order_by
        A number per tile, e.g. its haematoxylin: groups are ordered by its mean, highest first. By default
        they are ordered by size, largest first.
    seed
        Of the choice of tiles and of k-means.

    Raises
    ------
    UsageError
        When features are not finite numbers (n, d), or an argument does not fit them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tiles = np.concatenate([rng.normal(0, 1, (30, 4)), rng.normal(9, 1, (10, 4))])
    >>> lookalike(tiles, clusters=2).sizes.tolist()
    [30, 10]
    """
    data = _checked(features, clusters, names)
    if order_by is not None and np.shape(order_by) != (len(data),):
        raise UsageError(f"order_by is {np.shape(order_by)}: expected a number for each of {len(data)} tiles")
    if len(data) == 0:
        return Lookalike(np.zeros(0, np.int16), np.zeros((0, data.shape[1]), np.float32), (), (), ())
    scaled = _scaled(data)
    points = _turned(scaled)
    found = _clustered(points, clusters, seed)
    labels = _ordered(found, order_by)
    groups = [np.flatnonzero(labels == group) for group in range(labels.max() + 1)]
    centres = np.stack([data[rows].mean(axis=0) for rows in groups]).astype(np.float32)
    examples = tuple(_nearest(points, rows) for rows in groups)
    traits = tuple(_traits(scaled[rows].mean(axis=0), names) for rows in groups)
    return Lookalike(labels, centres, tuple(string.ascii_uppercase[: len(groups)]), examples, traits)


def _checked(features: NDArray[np.floating], clusters: int, names: Sequence[str]) -> NDArray[np.float64]:
    data = np.asarray(features, dtype=np.float64)
    if data.ndim != 2 or not np.isfinite(data).all():
        raise UsageError(f"features {data.shape}: expected finite numbers (n, d), a row per tile")
    if not 1 <= clusters <= len(string.ascii_uppercase):
        raise UsageError(f"clusters {clusters}: expected 1 to {len(string.ascii_uppercase)}")
    if names and len(names) != data.shape[1]:
        raise UsageError(f"{len(names)} names for {data.shape[1]} features: expected one for each")
    return data


def _scaled(data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return robust standard deviations from the median; features that never change become 0."""
    low, middle, high = np.percentile(data, [25, 50, 75], axis=0)
    spread = (high - low) / 1.349
    spread = np.where(spread > 1e-9, spread, data.std(axis=0))
    scaled = np.divide(data - middle, spread, out=np.zeros_like(data), where=spread > 1e-9)
    return np.clip(scaled, -OUTLIER, OUTLIER)


def _turned(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coordinates on the principal axes that hold `VARIANCE`."""
    centred = scaled - scaled.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    values, axes = values[::-1].clip(0), axes[:, ::-1]
    if values.sum() <= 0:
        return np.zeros((len(scaled), 1))
    kept = int(np.searchsorted(np.cumsum(values) / values.sum(), VARIANCE)) + 1
    return np.asarray(centred @ axes[:, : min(kept, MOST_AXES)])


def _clustered(points: NDArray[np.float64], clusters: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    some = points
    if len(points) > FITTED:
        some = points[np.random.default_rng(seed).choice(len(points), FITTED, replace=False)]
    groups = min(clusters, len(np.unique(some.round(9), axis=0)))
    return np.asarray(KMeans(groups, n_init=4, random_state=seed).fit(some).predict(points), np.int64)


def _ordered(found: NDArray[np.int64], order_by: ArrayLike | None) -> NDArray[np.int16]:
    """Give the groups that have tiles new numbers, by what they are ordered by, highest first."""
    present, found = np.unique(found, return_inverse=True)
    size = np.bincount(found, minlength=len(present)).astype(np.float64)
    rank = size if order_by is None else np.bincount(found, np.asarray(order_by, np.float64)) / size
    place = np.empty(len(present), np.int16)
    place[np.argsort(-rank, kind="stable")] = np.arange(len(present))
    return place[found]


def _nearest(points: NDArray[np.float64], rows: NDArray[np.int64]) -> tuple[int, ...]:
    distance = np.linalg.norm(points[rows] - points[rows].mean(axis=0), axis=1)
    return tuple(rows[np.argsort(distance, kind="stable")[:EXAMPLES]].tolist())


def _traits(centre: NDArray[np.float64], names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    if not names:
        return ()
    strongest = np.argsort(-np.abs(centre), kind="stable")[:TRAITS]
    return tuple((names[place], round(float(centre[place]), 2)) for place in strongest)
