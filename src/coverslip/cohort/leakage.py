"""Whether what is tested was seen in training: the same patient, the same slide, the same picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort.cohort import Cohort, Rows
from coverslip.cohort.confounding import Confounding, confounding
from coverslip.cohort.copies import Copies, find_copies
from coverslip.cohort.labels import Target, as_target
from coverslip.cohort.splits import Fold, Splits
from coverslip.cohort.table import refuse
from coverslip.core.errors import UsageError

TILES_TOLERATED = 0.02
"""Share of tested tiles that may have a copy in training. The published, curated clusters of LC25000
themselves part 0.5 to 1.3 % of the tiles from copies; after a random split nearly all tiles have one."""

SHOWN = 5

CONFOUNDERS = ("site", "scanner", "stain")


@dataclass(frozen=True, eq=False)
class Leakage:
    """What a check found.

    Attributes
    ----------
    problems
        For these the split is refused.
    warnings
        What to know about: copies within what is tolerated, label and site confounded.
    share
        Share of tested rows that have a copy in training or validation; NaN when pictures were not looked at.
    copies
        All copies within the cohort, whether a split cuts them or not; None when pictures were not looked at.
    confounding
        Of label and site, scanner and stain, where these columns are.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    share: float
    copies: Copies | None
    confounding: tuple[Confounding, ...]

    @property
    def refused(self) -> bool:
        """Whether the split must not be used."""
        return bool(self.problems)

    def refuse(self) -> None:
        """Raise when the split must not be used.

        Raises
        ------
        UsageError
            With all problems, numbered.
        """
        refuse(
            "the split",
            self.problems,
            "split by patient, tiles by source; tiles.with_sources(leakage.copies.groups) joins copies",
        )


def check_leakage(
    cohort: Rows,
    splits: Splits,
    *,
    target: str | Target | None = "label",
    look: bool = True,
    tolerated: float | None = None,
    seed: int = 0,
) -> Leakage:
    """Check that no fold tests what was seen in training.

    Parameters
    ----------
    cohort, splits
        The table and folds of it.
    target
        What is compared with site, scanner and stain; None for nothing.
    look
        Whether to read the pictures and compare them; takes about 1.5 s of one core for 1,000 tiles.
    tolerated
        Share of tested rows with a copy in training up to which the split is not refused but warned of: by
        default 0 of slides, 0.02 of tiles.
    seed
        Of the permutations.

    Raises
    ------
    UsageError
        When the splits are of another cohort, or pictures cannot be read. What leaks is not raised but
        returned: call `Leakage.refuse`.
    """
    if splits.cohort != cohort.digest:
        raise UsageError("these splits were made for another cohort", mend="split this cohort")
    limit = tolerated if tolerated is not None else 0.0 if isinstance(cohort, Cohort) else TILES_TOLERATED
    if not 0 <= limit <= 1:
        raise UsageError(f"tolerated {limit} is no share", mend="give one from 0 to 1")
    problems: list[str] = list(_shared(cohort, splits))
    warnings: list[str] = []
    copies, share = None, float("nan")
    if look:
        copies = find_copies(cohort)
        share, text = _straddling(cohort, splits, copies)
        if text:
            (problems if share > limit else warnings).append(text)
        if len(copies.flat):
            warnings.append(f"{len(copies.flat)} rows show nothing and were not compared")
    found = tuple(_confounders(cohort, target, seed))
    warnings += [str(each) for each in found if each.confounded]
    return Leakage(tuple(problems), tuple(warnings), share, copies, found)


def _shared(cohort: Rows, splits: Splits) -> Iterator[str]:
    """Yield a sentence for each column whose values stand in several parts of a fold."""
    names = ("patient", "case", "slide") if isinstance(cohort, Cohort) else ("source", "tile")
    folds = list(_all_folds(splits))
    for name in names:
        values, codes = np.unique(cohort.column(name), return_inverse=True)
        cut = [codes_in_two_parts(fold, codes, len(values)) for fold in folds]
        worst = int(np.argmax([len(each) for each in cut]))
        if len(cut[worst]):
            shown = ", ".join(values[cut[worst][:SHOWN]].tolist())
            yield (
                f"{len(cut[worst])} values of {name} stand in several parts of fold {worst}: {shown}"
                + (", …" if len(cut[worst]) > SHOWN else "")
            )


def _all_folds(splits: Splits) -> Iterator[Fold]:
    for fold in splits.folds:
        yield fold
        yield from fold.inner


def codes_in_two_parts(fold: Fold, codes: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return the codes that stand in more than one part of a fold."""
    seen = np.zeros((count, 3), bool)
    for part, (_, rows) in enumerate(fold.parts()):
        seen[codes[rows], part] = True
    return np.flatnonzero(seen.sum(axis=1) > 1)


def _straddling(cohort: Rows, splits: Splits, copies: Copies) -> tuple[float, str]:
    """Return the share of tested rows that have a copy in training or validation, and a sentence on it."""
    tested = leaked = 0
    worst: tuple[float, str] = (0.0, "")
    one, other = copies.pairs.T
    for fold in splits.folds:
        part = fold.part_of(len(cohort))
        cut = (part[one] != part[other]) & (part[one] >= 0) & (part[other] >= 0)
        cut &= (part[one] == 2) | (part[other] == 2)
        ends = np.concatenate([one[cut], other[cut]])
        leaked += len(np.unique(ends[part[ends] == 2]))
        tested += len(fold.test)
        if cut.any():
            best = int(np.flatnonzero(cut)[np.argmax(copies.likeness[cut])])
            pair = f"{cohort.ids[one[best]]} and {cohort.ids[other[best]]}"
            worst = max(worst, (float(copies.likeness[best]), pair))
    if not leaked:
        return 0.0, ""
    share = leaked / tested
    return share, (
        f"{leaked} of {tested} tested rows ({share:.1%}) have a near-duplicate in training or validation: "
        f"{worst[1]} are alike by {worst[0]:.2f}"
    )


def _confounders(cohort: Rows, target: str | Target | None, seed: int) -> Iterator[Confounding]:
    if target is None or as_target(target).kind == "regression":
        return
    if as_target(target).column not in cohort.columns:
        return
    for column in CONFOUNDERS:
        if column in cohort.columns and len(np.unique(cohort.column(column))) > 1:
            yield confounding(cohort, column, target=target, seed=seed)
