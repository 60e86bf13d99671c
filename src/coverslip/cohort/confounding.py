"""Whether a label could be read off something that is not the disease: the site, the scanner, the stain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort.cohort import Rows
from coverslip.cohort.labels import Target
from coverslip.core.errors import UsageError

PERMUTATIONS = 999

STRONG, SURE = 0.3, 0.01
"""Cramér's V from which, and p below which, label and site count as confounded."""


@dataclass(frozen=True)
class Confounding:
    """How a label goes with another column, counted once per patient.

    Attributes
    ----------
    column, target
        What was compared.
    v
        Cramér's V: 0 independent, 1 one tells the other.
    p
        Share of permutations of the label with at least this V, the observed one counted in.
    one_class
        Values of the column that have one class only, with it.
    units
        Patients counted.
    """

    column: str
    target: str
    v: float
    p: float
    one_class: tuple[tuple[str, str], ...]
    units: int

    @property
    def confounded(self) -> bool:
        """Whether V is 0.3 or more and p 0.01 or less."""
        return self.v >= STRONG and self.p <= SURE

    def __str__(self) -> str:
        verdict = "are confounded" if self.confounded else "are not clearly confounded"
        text = (
            f"{self.target} and {self.column} {verdict}: Cramér's V {self.v:.2f}, "
            f"p {self.p:.3f}, {self.units} patients"
        )
        if self.one_class:
            shown = ", ".join(f"{value} ({name})" for value, name in self.one_class[:5])
            more = ", …" if len(self.one_class) > 5 else ""
            text += f"; {len(self.one_class)} with one class only: {shown}{more}"
        return text


def confounding(
    cohort: Rows, column: str = "site", *, target: str | Target = "label", seed: int = 0
) -> Confounding:
    """Measure how far `column` tells the label.

    Parameters
    ----------
    column
        ``site``, ``scanner``, ``stain`` or any other.
    target
        Column or target with classes.
    seed
        Of the 999 permutations.

    Raises
    ------
    UnknownNameError, UsageError
        When a column is not there, or the target is a regression.

    Examples
    --------
    >>> from coverslip.cohort import Cohort
    >>> names = [f"s{i}" for i in range(20)]
    >>> table = {"slide": names, "path": names, "label": ["x"] * 10 + ["y"] * 10}
    >>> cohort = Cohort.read(table | {"site": ["A"] * 10 + ["B"] * 10}, files=False)
    >>> print(confounding(cohort))
    label and site are confounded: Cramér's V 1.00, p 0.001, 20 patients; 2 with one class only: A (x), B (y)
    """
    classes, codes = cohort.labels(target)
    if not classes:
        raise UsageError("a regression has no classes", mend="name a target with classes")
    values, others = np.unique(cohort.column(column), return_inverse=True)
    units = np.unique(cohort.column(cohort.unit), return_inverse=True)[1]
    rows = np.unique(
        np.stack([units, codes.astype(np.int64), others]), axis=1
    )  # a patient counts once per pair
    label, other = rows[1], rows[2]
    shape = (len(values), len(classes))
    table = counted(other, label, shape)
    rng = np.random.default_rng(seed)
    observed = cramers_v(table)
    chance = [cramers_v(counted(other, rng.permutation(label), shape)) for _ in range(PERMUTATIONS)]
    p = (1 + sum(v >= observed - 1e-12 for v in chance)) / (1 + PERMUTATIONS)
    alone = np.flatnonzero((table > 0).sum(axis=1) == 1)
    one_class = tuple((str(values[row]), classes[int(table[row].argmax())]) for row in alone)
    name = target.column if isinstance(target, Target) else target
    return Confounding(column, name, observed, p, one_class, int(units.max()) + 1)


def counted(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the contingency table of two codes."""
    flat = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return flat.reshape(shape)


def cramers_v(table: NDArray[np.int64]) -> float:
    """Return Cramér's V of a contingency table, without correction; 0 where there is nothing to tell apart.

    Examples
    --------
    >>> cramers_v(np.array([[5, 0], [0, 5]]))
    1.0
    """
    kept = table[table.any(axis=1)][:, table.any(axis=0)].astype(np.float64)
    if min(kept.shape) < 2:
        return 0.0
    expected = np.outer(kept.sum(axis=1), kept.sum(axis=0)) / kept.sum()
    chi2 = float(((kept - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi2 / (kept.sum() * (min(kept.shape) - 1))))
