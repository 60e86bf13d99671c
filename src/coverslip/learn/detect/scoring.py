"""How well a detector did: average precision over the scores by class, and at one score over the objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.detect.objects import Found

Boxes = NDArray[np.float32]
SCORES = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Scores that are tried as the least one."""


@dataclass(frozen=True)
class Ranked:
    """Every object found of a class, over all pictures, the surest first.

    Attributes
    ----------
    scores
        (n,), falling.
    hits
        (n,): whether it is the first to meet a true object.
    truths
        Number of true objects.
    """

    scores: NDArray[np.float32]
    hits: NDArray[np.bool_]
    truths: int

    @property
    def average_precision(self) -> float:
        """Area under precision over recall, precision made to fall (Everingham et al., IJCV 2010).

        The area itself, as VOC takes it since 2010, not the mean at 11 recalls. NaN without true objects.

        Examples
        --------
        >>> ranked = Ranked(np.array([0.9, 0.8, 0.7], np.float32), np.array([True, False, True]), 2)
        >>> round(ranked.average_precision, 4)
        0.8333
        """
        if not self.truths:
            return float("nan")
        found = np.cumsum(self.hits)
        precision = found / np.arange(1, len(found) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        return float((falling * self.hits).sum() / self.truths)

    def at(self, least: float) -> tuple[int, int, int]:
        """Return true positives, false positives and misses among objects with at least this score."""
        kept = self.scores >= least
        true = int(self.hits[kept].sum())
        return true, int(kept.sum()) - true, self.truths - true


def iou(one: Boxes, other: Boxes) -> NDArray[np.float32]:
    """Return intersection over union of boxes (n, 4) with boxes (m, 4), (n, m).

    Examples
    --------
    >>> iou(np.array([[0, 0, 2, 2]], np.float32), np.array([[1, 0, 3, 2]], np.float32)).round(3).tolist()
    [[0.3330000042915344]]
    """
    size = np.minimum(one[:, None, 2:], other[None, :, 2:]) - np.maximum(one[:, None, :2], other[None, :, :2])
    shared = np.prod(np.maximum(size, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None] - shared
    ratio: NDArray[np.float32] = shared / np.maximum(union, 1e-9)
    return ratio


def ranked(
    pairs: Iterable[tuple[tuple[Boxes, NDArray[np.int64]], Found]], classes: int, *, least_iou: float = 0.5
) -> list[Ranked]:
    """Match what was found with what is true, picture by picture, the surest first.

    Parameters
    ----------
    pairs
        True boxes with their classes (from 0 on), and what was found, for each picture.

    Returns
    -------
    One `Ranked` per class.
    """
    scores: list[list[float]] = [[] for _ in range(classes)]
    hits: list[list[bool]] = [[] for _ in range(classes)]
    truths = [0] * classes
    for (boxes, labels), found in pairs:
        for number in range(classes):
            true = boxes[labels == number]
            mine = found.take(np.flatnonzero(found.labels == number))
            order = np.argsort(-mine.scores, kind="stable")
            truths[number] += len(true)
            scores[number] += mine.scores[order].tolist()
            hits[number] += _hits(iou(mine.boxes[order], true), least_iou)
    return [_in_order(*each) for each in zip(scores, hits, truths, strict=True)]


def _hits(overlap: NDArray[np.float32], least: float) -> list[bool]:
    """Say which of the objects, the surest first, meet a true one that no surer one met."""
    free = np.ones(overlap.shape[1], bool)
    found = []
    for row in overlap:
        best = int(np.argmax(np.where(free, row, -1))) if len(row) else -1
        met = best >= 0 and free[best] and row[best] >= least
        if met:
            free[best] = False
        found.append(bool(met))
    return found


def _in_order(scores: Sequence[float], hits: Sequence[bool], truths: int) -> Ranked:
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    return Ranked(np.asarray(scores, np.float32)[order], np.asarray(hits, bool)[order], truths)


def best_score(by_class: Sequence[Ranked]) -> float:
    """Return the least score at which TP / (TP + FP + misses), pooled over the classes, is best."""
    values = []
    for least in SCORES:
        true, false, missed = np.sum([each.at(least) for each in by_class], axis=0)
        values.append(true / max(1, true + false + missed))
    return SCORES[int(np.argmax(values))]
