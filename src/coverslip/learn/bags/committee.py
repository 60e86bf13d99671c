"""A committee for small sets of bags: several ways to learn, and who of them judges together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.learn.bags.likeness import Bag, Matrix, Scaler
from coverslip.learn.bags.members import DistanceMachine, Member, Trees


def _networks() -> Member:
    from coverslip.learn.bags.attending import Attending

    return Attending()


MEMBERS: Mapping[str, Callable[[], Member]] = {
    "distances": DistanceMachine,
    "trees": Trees,
    "networks": _networks,
}
"""All ways to learn."""

USUAL = ("distances", "trees")
"""Those that judge together unless inner folds speak clearly for others."""


class Committee:
    """Learns classes of bags from few bags; nothing has to be set.

    Features are shifted and scaled as the training bags' are; each member learns for itself, and what it has
    to choose it chooses on inner folds of the training bags. The probabilities of `USUAL` are averaged,
    unless others are right so much more often on the inner folds that chance hardly explains it (see
    `elected`): distances and statistics see little of a single telling row among many, which attention finds.

    Parameters
    ----------
    seed
        Of all that is drawn.

    Attributes
    ----------
    chosen
        Names of the members whose probabilities are averaged, once fitted.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bags = [rng.normal(size=(5, 3)) + 2 * (number % 2) for number in range(20)]
    >>> committee = Committee(seed=1).fit(bags, np.arange(20) % 2)
    >>> committee.probability([np.full((4, 3), 2.0)]).argmax(axis=1).tolist()
    [1]
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._members: dict[str, Member] = {}

    def fit(self, bags: Sequence[Bag], codes: NDArray[np.int64]) -> Committee:
        """Learn from bags (n, d) with codes 0 to k - 1.

        Raises
        ------
        UsageError
            When a bag is empty or holds what is no number, or a class has fewer than two bags.
        """
        codes = np.asarray(codes, np.int64)
        self._width = check_bags(bags)
        counts = np.bincount(codes)
        if len(counts) < 2 or counts.min() < 2:
            raise UsageError(
                f"classes have {counts.tolist()} bags: expected two or more of two classes or more"
            )
        self._scaler = Scaler.of(np.concatenate(list(bags)))
        scaled = [self._scaler(bag) for bag in bags]
        self._members = {name: make() for name, make in MEMBERS.items()}
        for member in self._members.values():
            member.fit(scaled, codes, seed=self._seed)
        self.chosen = elected({name: member.held for name, member in self._members.items()}, codes)
        return self

    def said(self, bags: Sequence[Bag]) -> dict[str, Matrix]:
        """Return what each member says, (b, k) each.

        Raises
        ------
        UsageError
            As `fit`; and when bags have another number of features.
        """
        if check_bags(bags) != self._width:
            raise UsageError(f"these bags have {bags[0].shape[1]} features per row; expected {self._width}")
        scaled = [self._scaler(bag) for bag in bags]
        return {name: member.probability(scaled) for name, member in self._members.items()}

    def probability(self, bags: Sequence[Bag]) -> Matrix:
        """Return the mean over the members that were chosen, (b, k)."""
        return self.joined(self.said(bags))

    def joined(self, said: Mapping[str, Matrix]) -> Matrix:
        """Return the mean over the members that were chosen, of what `said` returned."""
        return np.mean([said[name] for name in self.chosen], axis=0)


def elected(held: Mapping[str, Matrix], codes: NDArray[np.int64]) -> tuple[str, ...]:
    """Return which members shall judge together.

    Of all groups the one that is right most often on bags that did not teach it, if it is right more often
    than the usual members by more than one standard error of the difference; else the usual ones. (The rule
    of one standard error is that of Breiman et al., Classification and regression trees, 1984.)

    Parameters
    ----------
    held
        What each member says of the bags in inner folds, (b, k).
    codes
        The truth, (b,).

    Examples
    --------
    >>> right, wrong = np.eye(2)[[0, 1] * 8], np.eye(2)[[1, 0] * 8]
    >>> elected({"distances": wrong, "trees": wrong, "networks": right}, np.array([0, 1] * 8))
    ('networks',)
    """
    usual = tuple(name for name in held if name in USUAL) or tuple(held)
    base = _right(held, usual, codes)
    best, won = usual, 0
    for size in range(1, len(held) + 1):
        for group in combinations(held, size):
            gain = _right(held, group, codes) - base
            if gain.sum() > max(won, np.sqrt((gain**2).sum())):
                best, won = group, int(gain.sum())
    return best


def _right(held: Mapping[str, Matrix], group: Sequence[str], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    said = np.mean([held[name] for name in group], axis=0)
    return (said.argmax(axis=1) == codes).astype(np.int64)


def check_bags(bags: Sequence[Bag]) -> int:
    """Return the number of features that all bags have.

    Raises
    ------
    UsageError
        When there is none, or one is empty, differs, or holds what is no number.
    """
    if not bags:
        raise UsageError("there are no bags")
    width = bags[0].shape[-1]
    for number, bag in enumerate(bags):
        if bag.ndim != 2 or bag.shape[1] != width or not len(bag):
            raise UsageError(f"bag {number} has shape {bag.shape}; expected (1 or more, {width})")
        if not np.isfinite(bag).all():
            raise UsageError(f"bag {number} holds features that are no numbers")
    return int(width)
