"""A committee for small sets of bags: several ways to learn, whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.learn.bags.likeness import Bag, Matrix, Scaler
from coverslip.learn.bags.members import DistanceMachine, Member, Trees

MEMBERS: Mapping[str, Callable[[], Member]] = {"distances": DistanceMachine, "trees": Trees}
"""All ways to learn; a committee has one of each, and none weighs more.

Tried beside these on MUSK1, MUSK2 and FOX and left out, since they made no committee better on all three:
gated attention, and support vector machines on bag statistics and on the normalised set kernel."""


class Committee:
    """Learns classes of bags from few bags; nothing has to be set.

    Features are shifted and scaled as the training bags' are; each member learns for itself, and what it has
    to choose it chooses on inner folds of the training bags; probabilities are averaged.

    Parameters
    ----------
    seed
        Of all that is drawn.

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
        """Return the mean over the members, (b, k)."""
        return np.mean(list(self.said(bags).values()), axis=0)


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
