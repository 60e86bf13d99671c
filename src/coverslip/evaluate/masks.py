"""How well segmented regions agree with drawn ones: overlap by class, and how far borders lie apart.

Dice (1945), Jaccard (1912); Hausdorff distances as in Huttenlocher et al., IEEE TPAMI 15 (1993), 95th
percentile; boundary F1 as in Csurka et al., BMVC 2013. Pixels that nobody annotated count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError

IGNORE = 255
"""Label of pixels about which nothing is known, as `coverslip.annotations.IGNORE`."""


@dataclass(frozen=True)
class MaskScores:
    """Agreement of pixels, by class; NaN for a class that neither truth nor prediction holds.

    Attributes
    ----------
    classes
        Names, in the order of the arrays.
    confusion
        Pixels by truth (rows) and prediction (columns), (k, k) int64.
    dice, iou, precision, recall
        (k,) float64.
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]

    @property
    def dice(self) -> NDArray[np.float64]:
        """2 · both / (truth + prediction)."""
        both, truth, found = self._counts()
        return _ratio(2 * both, truth + found)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Both / either."""
        both, truth, found = self._counts()
        return _ratio(both, truth + found - both)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of what was predicted that is true."""
        both, _, found = self._counts()
        return _ratio(both, found)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of what is true that was predicted."""
        both, truth, _ = self._counts()
        return _ratio(both, truth)

    @property
    def accuracy(self) -> float:
        """Share of the annotated pixels with the right class; NaN without any."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: per class and their means."""
        per = {
            name: {what: float(getattr(self, what)[i]) for what in ("dice", "iou", "precision", "recall")}
            for i, name in enumerate(self.classes)
        }
        means = {f"mean_{what}": _mean(getattr(self, what)) for what in ("dice", "iou")}
        return {"classes": per, **means, "accuracy": self.accuracy, "pixels": int(self.confusion.sum())}

    def _counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return np.diagonal(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)


def confusion_of(truth: NDArray[Any], found: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Count pixels by truth and prediction; several counts may be added up to pool slides.

    Parameters
    ----------
    truth, found
        Labels 0 to `classes` - 1, any shape; where `truth` is `IGNORE` nothing is counted.

    Returns
    -------
    (classes, classes) int64, rows the truth.

    Raises
    ------
    UsageError
        When the sizes differ, or a label is none.

    Examples
    --------
    >>> confusion_of(np.array([0, 1, 1, 255]), np.array([0, 0, 1, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    truth, found = np.asarray(truth), np.asarray(found)
    if truth.shape != found.shape:
        raise UsageError(
            f"a mask of {_size(found)} cannot be held against one of {_size(truth)}",
            mend="make both at the same mpp, of the same region",
        )
    known = truth != IGNORE
    rows, columns = truth[known].astype(np.int64), found[known].astype(np.int64)
    if rows.size and not (min(rows.min(), columns.min()) >= 0 and max(rows.max(), columns.max()) < classes):
        odd = sorted({*np.unique(rows).tolist(), *np.unique(columns).tolist()} - set(range(classes)))
        raise UsageError(f"labels {odd} are no class: expected 0 to {classes - 1}, or {IGNORE} for unknown")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def mask_scores(truth: NDArray[Any], found: NDArray[Any], classes: Sequence[str]) -> MaskScores:
    """Score the labels of pixels; see `confusion_of`.

    Examples
    --------
    >>> scores = mask_scores(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]]), ("stroma", "tumour"))
    >>> scores.dice.round(3).tolist(), scores.iou.round(3).tolist()
    ([0.667, 0.8], [0.5, 0.667])
    """
    return MaskScores(tuple(classes), confusion_of(truth, found, len(classes)))


def hausdorff(
    truth: NDArray[Any], found: NDArray[Any], *, percentile: float = 95.0, spacing: float = 1.0
) -> float:
    """Return how far apart the borders of two masks lie: the larger of both directed percentiles.

    Parameters
    ----------
    truth, found
        Boolean (h, w).
    percentile
        100 for the Hausdorff distance itself; 95 forgives single stray pixels.
    spacing
        Size of a pixel: with µm per pixel the result is in µm.

    Returns
    -------
    0 when both are empty, infinity when one is.

    Examples
    --------
    >>> truth, found = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    >>> truth[2:6, 2:6], found[2:6, 2:8] = True, True
    >>> hausdorff(truth, found, percentile=100, spacing=0.5)
    1.0
    """
    first, second = _both(truth, found)
    if not first.any() or not second.any():
        return 0.0 if first.any() == second.any() else float("inf")
    there, back = _distances(first, second)
    return float(max(np.percentile(there, percentile), np.percentile(back, percentile)) * spacing)


def boundary_f1(truth: NDArray[Any], found: NDArray[Any], *, tolerance: float = 2.0) -> float:
    """Return the F1 of border pixels, one being found when the other border lies within `tolerance` pixels.

    1 when both masks are empty, 0 when one is.

    Examples
    --------
    >>> truth, found = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    >>> truth[2:6, 2:6], found[2:6, 2:8] = True, True
    >>> boundary_f1(truth, found, tolerance=1), boundary_f1(truth, found, tolerance=2)
    (0.8571428571428571, 1.0)
    """
    first, second = _both(truth, found)
    if not first.any() or not second.any():
        return float(first.any() == second.any())
    there, back = _distances(first, second)
    recall, precision = float((there <= tolerance).mean()), float((back <= tolerance).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask with a neighbour (of four) outside; beyond the picture is outside."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _distances(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances of each border's pixels to the other border."""
    from scipy.ndimage import distance_transform_edt

    one, other = border(first), border(second)
    return distance_transform_edt(~other)[one], distance_transform_edt(~one)[other]


def _both(truth: NDArray[Any], found: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = np.asarray(truth, np.bool_), np.asarray(found, np.bool_)
    if first.shape != second.shape or first.ndim != 2:
        raise UsageError(
            f"masks of {_size(first)} and {_size(second)} have no borders to hold against each other: "
            "expected two of (h, w)"
        )
    return first, second


def _size(array: NDArray[Any]) -> str:
    return " × ".join(str(side) for side in reversed(array.shape)) or "one pixel"


def _ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
