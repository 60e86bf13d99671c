"""How well objects were found: average precision, F1, panoptic quality, AJI, and GlaS' object scores.

Objects are given as label images: integers (h, w), 0 = background, one number per object. Counts of several
pictures are added before a score is taken of them (pooled), so that a picture counts by its objects.

References
----------
.. [1] J. C. Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl",
   Nature Methods 2019. (AP = TP / (TP + FP + FN))
.. [2] A. Kirillov et al., "Panoptic Segmentation", CVPR 2019.
.. [3] N. Kumar et al., "A dataset and a technique for generalized nuclear segmentation for computational
   pathology", IEEE TMI 2017. (AJI)
.. [4] K. Sirinukunwattana et al., "Gland segmentation in colon histology images: the GlaS challenge contest",
   Medical Image Analysis 2017. (object Dice, object Hausdorff)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""IoU at which a found object counts as a true one; the mean AP is over these."""

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Overlap:
    """Which objects of two label images share pixels, and how many.

    Attributes
    ----------
    truth, predicted
        Pixels of each object, (n,) and (m,), in the order of their labels.
    pairs
        (k, 2): rows of `truth` and of `predicted` that overlap.
    shared
        (k,): pixels that they share.
    """

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    pairs: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, (k,)."""
        union = self.truth[self.pairs[:, 0]] + self.predicted[self.pairs[:, 1]] - self.shared
        return self.shared / union


def overlap(truth: Labels, predicted: Labels) -> Overlap:
    """Compare two label images of one picture.

    Raises
    ------
    UsageError
        When they are no label images of one size.

    Examples
    --------
    >>> found = overlap(np.array([[1, 1, 0, 2]]), np.array([[7, 0, 0, 9]]))
    >>> found.truth.tolist(), found.predicted.tolist(), found.iou.tolist()
    ([2, 1], [1, 1], [0.5, 1.0])
    """
    for name, labels in (("truth", truth), ("prediction", predicted)):
        if labels.ndim != 2 or labels.dtype.kind not in "iu":
            raise UsageError(
                f"the {name} is {labels.dtype} {labels.shape}, not a label image: integers (h, w)"
            )
        if labels.size and labels.min() < 0:
            raise UsageError(f"the {name} has negative labels", mend="0 is background, objects are 1 and up")
    if truth.shape != predicted.shape:
        raise UsageError(f"the truth is {truth.shape} but the prediction {predicted.shape} pixels (h, w)")
    rows, of_truth = _numbered(truth)
    columns, of_predicted = _numbered(predicted)
    both = (rows >= 0) & (columns >= 0)
    key = rows[both] * max(1, len(of_predicted)) + columns[both]
    key, shared = np.unique(key, return_counts=True)
    pairs = np.stack(np.divmod(key, max(1, len(of_predicted))), axis=1)
    return Overlap(of_truth, of_predicted, pairs, shared.astype(np.int64))


def _numbered(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each pixel's object as a number from 0 on, -1 for background, and the pixels of each object."""
    flat = labels.ravel()
    if flat.size and int(flat.max()) > 4 * flat.size:  # numbers far apart: counting them all would take room
        flat = np.unique(flat, return_inverse=True)[1] + int(flat.min() > 0)
    flat = flat.astype(np.int64)
    areas = np.bincount(flat, minlength=1)
    there = areas > 0
    there[0] = False
    number = np.where(there, np.cumsum(there) - 1, -1)
    return number[flat], areas[there]


@dataclass(frozen=True)
class Matches:
    """Objects found and missed at one threshold of IoU; add those of several pictures to pool them.

    Attributes
    ----------
    tp, fp, fn
        Found; found where there is none; missed.
    iou
        Sum of the IoU of the found.
    """

    tp: int
    fp: int
    fn: int
    iou: float

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou + other.iou)

    @property
    def ap(self) -> float:
        """TP / (TP + FP + FN) [1]_; NaN when there is nothing to find and nothing was found."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the found that is true."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true that was found."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(self.tp, self.tp + (self.fp + self.fn) / 2)

    @property
    def pq(self) -> float:
        """Panoptic quality [2]_: F1 times the mean IoU of the found."""
        return _ratio(self.iou, self.tp + (self.fp + self.fn) / 2)


def match(of: Overlap, threshold: float = 0.5) -> Matches:
    """Match objects one to one where the IoU reaches `threshold`, as many as can be.

    Raises
    ------
    UsageError
        When the threshold is not above 0 and at most 1.

    Examples
    --------
    >>> found = match(overlap(np.array([[1, 1, 0, 2]]), np.array([[7, 0, 9, 0]])), 0.5)
    >>> found.tp, found.fp, found.fn, round(found.ap, 3)
    (1, 1, 1, 0.333)
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"an IoU threshold of {threshold} was given; it lies above 0 and is at most 1")
    near = of.iou >= threshold
    pairs, iou = of.pairs[near], of.iou[near]
    if len(np.unique(pairs[:, 0])) < len(pairs) or len(np.unique(pairs[:, 1])) < len(pairs):
        pairs, iou = _assigned(pairs, iou)
    return Matches(len(pairs), len(of.predicted) - len(pairs), len(of.truth) - len(pairs), float(iou.sum()))


def _assigned(
    pairs: NDArray[np.int64], iou: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose the one-to-one matching with the most pairs, and among those the greatest IoU."""
    from scipy.optimize import linear_sum_assignment

    rows, row = np.unique(pairs[:, 0], return_inverse=True)
    columns, column = np.unique(pairs[:, 1], return_inverse=True)
    worth = np.zeros((len(rows), len(columns)))
    worth[row, column] = 1 + iou / (2 * min(worth.shape))
    value = np.zeros_like(worth)
    value[row, column] = iou
    i, j = linear_sum_assignment(worth, maximize=True)
    kept = worth[i, j] > 0
    i, j = i[kept], j[kept]
    return np.stack([rows[i], columns[j]], axis=1), value[i, j]


def aji(of: Overlap) -> float:
    """Return the aggregated Jaccard index [3]_ of a picture.

    Each true object takes the found one of the greatest IoU (a found one may be taken twice); shared pixels
    over joined pixels, with the pixels of what was never taken added below the line.

    Examples
    --------
    >>> round(aji(overlap(np.array([[1, 1, 0, 2]]), np.array([[7, 0, 9, 0]]))), 3)
    0.25
    """
    best = _best(of.pairs[:, 0], of.iou, len(of.truth))
    taken = best[best >= 0]
    joined = of.truth[of.pairs[taken, 0]] + of.predicted[of.pairs[taken, 1]] - of.shared[taken]
    never = np.ones(len(of.predicted), bool)
    never[of.pairs[taken, 1]] = False
    below = joined.sum() + of.truth[best < 0].sum() + of.predicted[never].sum()
    return _ratio(float(of.shared[taken].sum()), float(below))


def object_dice(of: Overlap) -> float:
    """Return GlaS' object-level Dice [4]_ of a picture.

    The Dice of each object with the one of the other image that shares most pixels with it, weighted by its
    area; the mean of both directions.
    """
    if not len(of.truth) or not len(of.predicted):
        return _ratio(0.0, float(len(of.truth) + len(of.predicted)))
    dice = 2 * of.shared / (of.truth[of.pairs[:, 0]] + of.predicted[of.pairs[:, 1]])
    halves = []
    for side, area in ((0, of.truth), (1, of.predicted)):
        best = _best(of.pairs[:, side], of.shared, len(area))
        halves.append(float((np.where(best >= 0, np.append(dice, 0)[best], 0) * area).sum() / area.sum()))
    return sum(halves) / 2


def object_hausdorff(truth: Labels, predicted: Labels) -> float:
    """Return GlaS' object-level Hausdorff distance [4]_ of a picture, in pixels.

    The Hausdorff distance of each object to the one of the other image that shares most pixels with it (to
    the nearest by that distance when none does), weighted by its area; the mean of both directions.
    Infinite when only one image has objects.
    """
    of = overlap(truth, predicted)
    if not len(of.truth) or not len(of.predicted):
        return float("inf") if len(of.truth) + len(of.predicted) else float("nan")
    mine, theirs = _points(truth), _points(predicted)
    halves = []
    for side, area, these, those in ((0, of.truth, mine, theirs), (1, of.predicted, theirs, mine)):
        best = _best(of.pairs[:, side], of.shared, len(area))
        partner = np.where(best >= 0, np.append(of.pairs[:, 1 - side], -1)[best], -1)
        far = [
            _hausdorff(these[i], those[j]) if j >= 0 else min(_hausdorff(these[i], other) for other in those)
            for i, j in enumerate(partner)
        ]
        halves.append(float((np.array(far) * area).sum() / area.sum()))
    return sum(halves) / 2


def _points(labels: Labels) -> list[NDArray[np.float64]]:
    """Return the pixels (k, 2) of each object, in the order of the labels."""
    at = np.argwhere(labels > 0)
    own = labels[at[:, 0], at[:, 1]]
    order = np.argsort(own, kind="stable")
    return list(np.split(at[order].astype(float), np.flatnonzero(np.diff(own[order])) + 1))


def _hausdorff(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    from scipy.spatial import cKDTree

    return float(max(cKDTree(b).query(a)[0].max(), cKDTree(a).query(b)[0].max()))


def _best(owner: NDArray[np.int64], value: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return, per owner, the row of its greatest value; -1 where it has none; the first of equals."""
    best = np.full(count, -1, np.int64)
    order = np.lexsort((-np.arange(len(owner)), value))
    best[owner[order]] = order
    return best


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("nan")


@dataclass(frozen=True)
class InstanceScores:
    """Scores of a set of pictures.

    Attributes
    ----------
    pictures
        How many.
    matches
        Pooled counts per threshold of IoU.
    aji, dice, hausdorff
        Means of the pictures' AJI, object Dice and object Hausdorff distance (pixels); pictures without
        objects are left out, and of the distance also those where it is infinite. `hausdorff` is None when
        it was not asked for.
    """

    pictures: int
    matches: dict[float, Matches]
    aji: float
    dice: float
    hausdorff: float | None

    @property
    def mean_ap(self) -> float:
        """Mean of the pooled AP over the thresholds."""
        return float(np.mean([m.ap for m in self.matches.values()]))


def instances(
    pairs: Iterable[tuple[Labels, Labels]],
    thresholds: tuple[float, ...] = THRESHOLDS,
    *,
    distances: bool = False,
) -> InstanceScores:
    """Score (truth, prediction) pairs of label images, one pair per picture.

    Parameters
    ----------
    distances
        Also the object Hausdorff distance, which takes far longer than the rest.

    Raises
    ------
    UsageError
        When there are no pairs, or one is not of two label images of one size.

    Examples
    --------
    >>> truth = np.array([[1, 1, 0, 2]])
    >>> scores = instances([(truth, truth)])
    >>> scores.mean_ap, scores.matches[0.5].pq, scores.aji, scores.dice
    (1.0, 1.0, 1.0, 1.0)
    """
    pooled = dict.fromkeys(thresholds, Matches(0, 0, 0, 0.0))
    each: list[tuple[float, float, float]] = []
    for truth, predicted in pairs:
        of = overlap(truth, predicted)
        pooled = {t: m + match(of, t) for t, m in pooled.items()}
        far = object_hausdorff(truth, predicted) if distances else float("nan")
        each.append((aji(of), object_dice(of), far))
    if not each:
        raise UsageError("there are no pictures to score")
    columns = np.array(each).T
    columns[~np.isfinite(columns)] = np.nan
    means = [float(np.nanmean(c)) if np.isfinite(c).any() else float("nan") for c in columns]
    return InstanceScores(len(each), pooled, means[0], means[1], means[2] if distances else None)
