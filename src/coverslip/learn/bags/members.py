"""The members of a committee: each learns two classes of bags in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.bags.likeness import (
    Bag,
    Matrix,
    Scaler,
    mean_nearest,
    rows_within,
    squared_distances,
    statistics,
    thinned,
    typical,
)

Codes = NDArray[np.int64]

PENALTIES = (1.0, 10.0, 100.0)
"""Of the support vector machines; the one that does best on inner folds is taken."""

TREES = 300

COMPARED = 8_000
"""Rows that are all compared with each other: 256 MB of distances."""

INNER = 5
"""Inner folds, less when a class has fewer bags."""


class Member(ABC):
    """Learns from bags (features scaled) with codes 0 to k - 1, and gives a probability of each.

    Attributes
    ----------
    held
        (b, k), once fitted: what it says of each bag that it learned from, in an inner fold that did not.
    """

    held: Matrix

    @abstractmethod
    def fit(self, bags: Sequence[Bag], codes: Codes, *, seed: int) -> None:
        """Learn; what has to be chosen is chosen on inner folds of these bags."""

    @abstractmethod
    def probability(self, bags: Sequence[Bag]) -> Matrix:
        """Return (b, k), rows that sum to 1."""


class Trees(Member):
    """Extremely randomised trees on bag statistics.

    Geurts, Ernst and Wehenkel: Extremely randomized trees, Machine Learning 2006.
    """

    def fit(self, bags: Sequence[Bag], codes: Codes, *, seed: int) -> None:
        """Learn."""
        from sklearn.ensemble import ExtraTreesClassifier

        described = statistics(bags)
        self._trees = ExtraTreesClassifier(TREES, random_state=seed).fit(described, codes)
        self.held = np.empty((len(bags), int(codes.max()) + 1))
        for test in inner_folds(codes, INNER, seed):
            learn = np.delete(np.arange(len(codes)), test)
            some = ExtraTreesClassifier(TREES // INNER, random_state=seed).fit(described[learn], codes[learn])
            self.held[test] = some.predict_proba(described[test])

    def probability(self, bags: Sequence[Bag]) -> Matrix:
        """Return the mean of the trees' votes."""
        votes: Matrix = self._trees.predict_proba(statistics(bags))
        return votes


class Machine(Member):
    """A support vector machine on a kernel between bags; margins become probabilities as Platt did.

    The penalty is chosen, and Platt's curve is fitted, on inner folds of the bags that teach.
    Platt: Probabilistic outputs for support vector machines, 1999.
    """

    @abstractmethod
    def _learn(self, bags: Sequence[Bag]) -> Matrix:
        """Learn what the kernel needs and return it among `bags`, (b, b)."""

    @abstractmethod
    def _kernel(self, bags: Sequence[Bag]) -> Matrix:
        """Return the kernel of new bags with those learned, (n, b)."""

    def fit(self, bags: Sequence[Bag], codes: Codes, *, seed: int) -> None:
        """Learn; of more than two classes, each against the rest."""
        kernel = self._learn(bags)
        classes = range(int(codes.max()) + 1)
        wanted = [1] if len(classes) == 2 else classes
        self._deciders = [Decider(kernel, (codes == c).astype(np.int64), seed) for c in wanted]
        self.held = _rows([decider.held for decider in self._deciders])

    def probability(self, bags: Sequence[Bag]) -> Matrix:
        """Return Platt's probabilities."""
        kernel = self._kernel(bags)
        return _rows([decider(kernel) for decider in self._deciders])


class Decider:
    """A support vector machine of two classes, with its penalty and its curve from inner folds.

    Parameters
    ----------
    kernel
        Among the bags that teach, (b, b).
    codes
        0 or 1, (b,).

    Attributes
    ----------
    held
        The probability of 1 for each of these bags, from the inner folds, (b,).
    """

    def __init__(self, kernel: Matrix, codes: Codes, seed: int) -> None:
        held = [_held_out(kernel, codes, penalty, seed) for penalty in PENALTIES]
        best = int(np.argmax([((margins > 0) == codes).sum() for margins in held]))
        self._curve = _platt(held[best], codes)
        self._machine = _svm(kernel, codes, PENALTIES[best])
        self.held = self._chances(held[best])

    def __call__(self, kernel: Matrix) -> Matrix:
        """Return the probability of 1 for kernels (n, b) with the bags that taught."""
        return self._chances(self._machine.decision_function(kernel))

    def _chances(self, margins: Matrix) -> Matrix:
        chances: Matrix = self._curve.predict_proba(margins[:, None])[:, 1]
        return chances


class DistanceMachine(Machine):
    """A support vector machine on a bag's distances from the bags that taught it.

    Cheplygina, Tax and Loog: Multiple instance learning with bag dissimilarities, Pattern Recognition 2015;
    with a Gaussian kernel over the vectors of distances, as wide as they typically lie apart. Of bags with
    more than `COMPARED` rows in all, each shows as many rows as keeps them within that, drawn at random.
    """

    def _learn(self, bags: Sequence[Bag]) -> Matrix:
        self._most = rows_within([len(bag) for bag in bags], COMPARED)
        self._prototypes = thinned(bags, self._most, 0)
        vectors = mean_nearest(self._prototypes, self._prototypes)
        self._scaler = Scaler.of(vectors)
        self._known = self._scaler(vectors)
        squared = squared_distances(self._known, self._known)
        self._width = typical(squared)
        return np.exp(-squared.astype(np.float64) / self._width)

    def _kernel(self, bags: Sequence[Bag]) -> Matrix:
        vectors = self._scaler(mean_nearest(thinned(bags, self._most, 0), self._prototypes))
        return np.exp(-squared_distances(vectors, self._known).astype(np.float64) / self._width)


def _svm(kernel: Matrix, codes: Codes, penalty: float) -> Any:
    from sklearn.svm import SVC

    return SVC(C=penalty, kernel="precomputed").fit(kernel, codes)


def _held_out(kernel: Matrix, codes: Codes, penalty: float, seed: int) -> Matrix:
    """Return the margin of each bag from a machine that did not learn from it."""
    margins = np.empty(len(codes))
    for test in inner_folds(codes, INNER, seed):
        learn = np.delete(np.arange(len(codes)), test)
        machine = _svm(kernel[np.ix_(learn, learn)], codes[learn], penalty)
        margins[test] = machine.decision_function(kernel[np.ix_(test, learn)])
    return margins


def inner_folds(codes: Codes, folds: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the bags that each fold tests, stratified; fewer folds when a class has fewer bags."""
    from sklearn.model_selection import StratifiedKFold

    count = min(folds, int(np.bincount(codes).min()))
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    for _, test in splitter.split(codes, codes):
        yield test


def _rows(chances: Sequence[Matrix]) -> Matrix:
    """Return (b, k), rows that sum to 1, of the chances of each class, or of the second of two, (b,) each."""
    columns = np.stack(chances, axis=1)
    if columns.shape[1] == 1:
        return np.concatenate([1 - columns, columns], axis=1)
    return columns / np.maximum(columns.sum(axis=1, keepdims=True), 1e-12)


def _platt(margins: Matrix, codes: Codes) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10.0).fit(margins[:, None], codes)
