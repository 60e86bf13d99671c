"""Handing out indivisible units (patients, sites) to parts, so that each part holds its share of every class.

The cost of an assignment is the sum over parts and classes of |count − wanted| / class total, with the rows
of all classes together counted as one more class: 0 is exact, and a rare class weighs as much as a common
one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError

PASSES = 20
"""Rounds of moving and swapping units; far more than are needed before nothing improves."""

SWAPPED = 400
"""Units up to which swaps of two are tried as well as moves of one."""

EXACT = 120
"""Units up to which the integer program is solved."""

NODES = 2000
"""Branches that HiGHS may look at; a limit in seconds would make the split depend on the machine."""

GAP = 1e-3
"""Relative gap at which the integer program counts as solved."""


@dataclass(frozen=True)
class Balanced:
    """Parts of units, and how good they are.

    Attributes
    ----------
    part
        int64 (units,).
    cost
        As the module defines it.
    bound
        No assignment costs less than this; 0 where nothing was proven.
    """

    part: NDArray[np.int64]
    cost: float
    bound: float


def weighed(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return rows of each class per unit as shares of the class, and of all rows, (units, classes + 1)."""
    full = np.column_stack([counts, counts.sum(axis=1)]).astype(np.float64)
    weights: NDArray[np.float64] = full / np.maximum(full.sum(axis=0), 1.0)
    return weights


def cost_of(weights: NDArray[np.float64], part: NDArray[np.int64], shares: NDArray[np.float64]) -> float:
    """Return the cost of an assignment; `weights` from `weighed`."""
    held = np.zeros((len(shares), weights.shape[1]))
    np.add.at(held, part, weights)
    return float(np.abs(held - shares[:, None]).sum())


def balance(
    counts: NDArray[np.int64], shares: NDArray[np.float64], *, seed: int, exact: bool = False
) -> Balanced:
    """Hand out units to parts.

    Parameters
    ----------
    counts
        (units, classes): rows of each class that each unit holds.
    shares
        (parts,): wanted share of each part, summing to 1.
    seed
        Of the order in which equal units are handed out.
    exact
        Whether to solve the integer program (HiGHS); of more than 120 units it is not.

    Raises
    ------
    UsageError
        When there are fewer units than parts.
    """
    if len(counts) < len(shares):
        raise UsageError(
            f"{len(counts)} units cannot fill {len(shares)} parts",
            mend="ask for fewer folds",
        )
    weights = weighed(counts)
    order = _order(weights, seed)
    part = _improved(weights, _greedy(weights, order, shares), shares)
    cost = cost_of(weights, part, shares)
    if not exact or len(counts) > EXACT or cost < 1e-12:
        return Balanced(part, cost, 0.0)
    return _solved(weights, order, shares, Balanced(part, cost, 0.0))


def _order(weights: NDArray[np.float64], seed: int) -> NDArray[np.intp]:
    """Largest first, equal ones shuffled."""
    shuffled = np.random.default_rng(seed).permutation(len(weights))
    size = np.round(weights[shuffled].max(axis=1), 9)
    return shuffled[np.argsort(-size, kind="stable")]


def _greedy(
    weights: NDArray[np.float64], order: NDArray[np.intp], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Give each unit to the part where it lowers the cost most; of equals, the emptiest for its share."""
    part = np.zeros(len(weights), np.int64)
    short = np.repeat(shares[:, None], weights.shape[1], axis=1)
    units = np.zeros(len(shares))
    for place, unit in enumerate(order):
        gain = (np.abs(short) - np.abs(short - weights[unit])).sum(axis=1)
        if len(order) - place <= np.count_nonzero(units == 0):
            gain[units > 0] = -np.inf  # the last units go to parts that have none
        best = np.flatnonzero(gain >= gain.max() - 1e-12)
        chosen = best[np.argmin(units[best] / shares[best])]
        part[unit] = chosen
        short[chosen] -= weights[unit]
        units[chosen] += 1
    return part


def _improved(
    weights: NDArray[np.float64], part: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Move single units, and swap two, while that lowers the cost."""
    part = part.copy()
    short = np.repeat(shares[:, None], weights.shape[1], axis=1)
    np.add.at(short, part, -weights)
    for _ in range(PASSES):
        changed = False
        for unit in range(len(weights)):
            changed |= _move(unit, weights, part, short)
            if len(weights) <= SWAPPED:
                changed |= _swap(unit, weights, part, short)
        if not changed:
            break
    return part


def _move(
    unit: int, weights: NDArray[np.float64], part: NDArray[np.int64], short: NDArray[np.float64]
) -> bool:
    here = part[unit]
    if np.count_nonzero(part == here) == 1:
        return False
    apart = np.abs(short).sum(axis=1)
    leaving = np.abs(short[here] + weights[unit]).sum() - apart[here]
    change = leaving + np.abs(short - weights[unit]).sum(axis=1) - apart
    change[here] = 0.0
    there = int(np.argmin(change))
    if change[there] > -1e-9:
        return False
    short[here] += weights[unit]
    short[there] -= weights[unit]
    part[unit] = there
    return True


def _swap(
    unit: int, weights: NDArray[np.float64], part: NDArray[np.int64], short: NDArray[np.float64]
) -> bool:
    here = part[unit]
    apart = np.abs(short).sum(axis=1)
    difference = weights - weights[unit]  # what `here` would hold more
    change = np.abs(short[here] - difference).sum(axis=1) - apart[here]
    change += np.abs(short[part] + difference).sum(axis=1) - apart[part]
    change[part == here] = 0.0
    other = int(np.argmin(change))
    if change[other] > -1e-9:
        return False
    short[here] -= difference[other]
    short[part[other]] += difference[other]
    part[unit], part[other] = part[other], here
    return True


def _solved(
    weights: NDArray[np.float64], order: NDArray[np.intp], shares: NDArray[np.float64], start: Balanced
) -> Balanced:
    """Minimise the cost over x[unit, part] ∈ {0, 1} and slacks s ≥ |held − share|; keep `start` if better."""
    from scipy import optimize, sparse

    units, classes, parts = len(weights), weights.shape[1], len(shares)
    sorted_weights = weights[order]
    held = sparse.kron(sparse.csr_array(sorted_weights.T), sparse.eye_array(parts))  # (classes · parts, x)
    slack = sparse.eye_array(classes * parts)
    wanted = np.tile(shares, classes)
    once = sparse.hstack(
        [sparse.kron(sparse.eye_array(units), np.ones((1, parts))), _none(units, classes * parts)]
    )
    filled = sparse.hstack(
        [sparse.kron(np.ones((1, units)), sparse.eye_array(parts)), _none(parts, classes * parts)]
    )
    constraints = [
        optimize.LinearConstraint(sparse.hstack([held, -slack]), -np.inf, wanted),
        optimize.LinearConstraint(sparse.hstack([held, slack]), wanted, np.inf),
        optimize.LinearConstraint(once, 1, 1),
        optimize.LinearConstraint(filled, 1, np.inf),
    ]
    upper = np.concatenate([_allowed(units, shares).ravel(), np.full(classes * parts, np.inf)])
    result = optimize.milp(
        np.concatenate([np.zeros(units * parts), np.ones(classes * parts)]),
        integrality=np.concatenate([np.ones(units * parts), np.zeros(classes * parts)]),
        bounds=optimize.Bounds(0, upper),
        constraints=constraints,
        options={"node_limit": NODES, "mip_rel_gap": GAP},
    )
    bound = max(0.0, float(result.mip_dual_bound)) if result.mip_dual_bound is not None else 0.0
    if result.x is None:
        return Balanced(start.part, start.cost, bound)
    part = np.empty(units, np.int64)
    part[order] = result.x[: units * parts].reshape(units, parts).argmax(axis=1)
    part = _improved(weights, part, shares)
    cost = cost_of(weights, part, shares)
    return (
        Balanced(part, cost, bound) if cost < start.cost - 1e-9 else Balanced(start.part, start.cost, bound)
    )


def _none(rows: int, columns: int) -> object:
    from scipy import sparse

    return sparse.csr_array((rows, columns))


def _allowed(units: int, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Break the symmetry of equal parts: the k-th unit goes to one of the first k + 1."""
    allowed = np.ones((units, len(shares)))
    if np.ptp(shares) < 1e-12:
        for unit in range(min(units, len(shares))):
            allowed[unit, unit + 1 :] = 0.0
    return allowed
