"""Folds of a cohort: who trains, who chooses, who tests; checked, and kept in a file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort.cohort import Rows
from coverslip.cohort.labels import Target
from coverslip.core import atomic
from coverslip.core.errors import ExistsError, StoreError, UsageError

TYPE, VERSION = "coverslip splits", 1

Index = NDArray[np.int64]


@dataclass(frozen=True)
class SplitSpec:
    """How to split.

    Attributes
    ----------
    by
        Column whose values are never cut: by default ``patient``, of tiles ``source``.
    folds
        Test folds; each row is tested once. 2 … 50.
    stratify
        Column or target whose classes every fold shares alike (quartiles of a regression); None for none.
    group
        Column of which each value lies wholly in one test fold: ``site`` for site-preserved splits.
    val
        Share of the rows outside the test fold that is held back to stop early and to choose; 0 for none.
    seed
        Of everything.
    repeats
        How often the whole is done again with other seeds.
    inner
        Folds within the training and validation rows of each fold (nested cross-validation); 0 for none.
    """

    by: str | None = None
    folds: int = 5
    stratify: str | Target | None = "label"
    group: str | None = None
    val: float = 0.2
    seed: int = 0
    repeats: int = 1
    inner: int = 0

    def __post_init__(self) -> None:
        wrong = []
        if not 2 <= self.folds <= 50:
            wrong.append(f"folds {self.folds}: expected 2 to 50")
        if self.inner and not 2 <= self.inner <= 50:
            wrong.append(f"inner {self.inner}: expected 0, or 2 to 50")
        if not 0 <= self.val <= 0.5:
            wrong.append(f"val {self.val}: expected a share from 0 to 0.5")
        if not 1 <= self.repeats <= 100:
            wrong.append(f"repeats {self.repeats}: expected 1 to 100")
        if wrong:
            raise UsageError(f"no split can be made: {'; '.join(wrong)}", mend="mend these")

    @property
    def needed(self) -> int:
        """Patients of each class without which some part would have none."""
        within = (self.inner or 1) + (1 if self.val else 0)
        least = max(self.folds, 2)
        while least - math.ceil(least / self.folds) < within:
            least += 1
        return least


@dataclass(frozen=True, eq=False)
class Fold:
    """Row indices, sorted: none stands in two parts.

    Attributes
    ----------
    train, val, test
        int64.
    repeat
        Which repetition the fold belongs to.
    inner
        Folds of the rows of `train` and `val`, for nested cross-validation.
    """

    train: Index
    val: Index
    test: Index
    repeat: int = 0
    inner: tuple[Fold, ...] = ()

    def __post_init__(self) -> None:
        for name in ("train", "val", "test"):
            rows = np.unique(np.asarray(getattr(self, name), np.int64))
            rows.setflags(write=False)
            object.__setattr__(self, name, rows)

    def parts(self) -> Iterator[tuple[str, Index]]:
        """Yield name and rows of the parts."""
        yield from (("train", self.train), ("val", self.val), ("test", self.test))

    def part_of(self, count: int) -> NDArray[np.int8]:
        """Return the part of each of `count` rows: 0 train, 1 val, 2 test, -1 none."""
        part = np.full(count, -1, np.int8)
        for code, (_, rows) in enumerate(self.parts()):
            part[rows] = code
        return part


@dataclass(frozen=True, eq=False)
class Splits:
    """Folds of one cohort. Made by `split`, `holdout` or `given`, read by `Splits.load`.

    Attributes
    ----------
    folds
        All folds of all repetitions.
    by
        The column that no fold cuts.
    cohort
        Digest of the cohort.
    ids
        What names its rows, so that the file can be read without it.
    method
        In words.
    spec
        What was asked for, as JSON holds it.
    quality
        ``cost`` (deviation of class shares, 0 is exact) and ``bound`` (what no split can beat; 0 when not
        proven).
    """

    folds: tuple[Fold, ...]
    by: str
    cohort: str
    ids: tuple[str, ...]
    method: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.folds)

    def shares(self, cohort: Rows, target: str | Target) -> list[dict[str, dict[str, int]]]:
        """Count the rows of each class, per fold and part."""
        self._same(cohort)
        classes, codes = cohort.labels(target)
        if not classes:
            raise UsageError("a regression has no classes to count", mend="name a target with classes")
        return [
            {
                name: dict(
                    zip(classes, np.bincount(codes[rows], minlength=len(classes)).tolist(), strict=True)
                )
                for name, rows in fold.parts()
            }
            for fold in self.folds
        ]

    def save(self, path: str | os.PathLike[str], *, replace: bool = False) -> None:
        """Write ``splits.json``.

        Raises
        ------
        ExistsError
            When the file is there and holds another split, unless `replace`.
        """
        target = Path(path)
        text = json.dumps(self._record(), indent=1)
        if target.exists() and not replace:
            if target.read_text(encoding="utf-8") == text:
                return
            raise ExistsError(f"{path} holds another split", mend="say replace=True, or another name")
        with atomic(target) as partial:
            partial.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], cohort: Rows) -> Splits:
        """Read ``splits.json`` and check that it belongs to `cohort`.

        Raises
        ------
        StoreError
            When the file is missing, damaged, of a later version, or was made for another cohort.
        """
        record = _read(Path(path))
        splits = cls(
            tuple(_fold(fold) for fold in record["folds"]),
            record["by"],
            record["cohort"],
            tuple(record["rows"]),
            record["method"],
            record["spec"],
            record["quality"],
        )
        if splits.cohort != cohort.digest:
            raise StoreError(
                f"{path} was made for another cohort: {_difference(splits.ids, cohort)}",
                mend="give the cohort it was made for, or split again",
            )
        return splits

    def _same(self, cohort: Rows) -> None:
        if self.cohort != cohort.digest:
            raise UsageError(
                f"these splits were made for another cohort: {_difference(self.ids, cohort)}",
                mend="split this cohort",
            )

    def _record(self) -> dict[str, Any]:
        return {
            "type": TYPE,
            "version": VERSION,
            "method": self.method,
            "by": self.by,
            "spec": dict(self.spec),
            "quality": dict(self.quality),
            "cohort": self.cohort,
            "rows": list(self.ids),
            "folds": [_json(fold) for fold in self.folds],
        }


def spec_record(spec: SplitSpec) -> dict[str, Any]:
    """Return the spec as JSON holds it."""
    return {key: value for key, value in asdict(spec).items() if value is not None}


def _json(fold: Fold) -> dict[str, Any]:
    parts = {name: rows.tolist() for name, rows in fold.parts()}
    return {**parts, "repeat": fold.repeat, "inner": [_json(inner) for inner in fold.inner]}


def _fold(record: Mapping[str, Any]) -> Fold:
    inner = tuple(_fold(each) for each in record["inner"])
    return Fold(record["train"], record["val"], record["test"], record["repeat"], inner)


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"there is no file {path}", mend="check the path, or split") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}", mend="split again") from error
    if not isinstance(record, dict) or record.get("type") != TYPE:
        raise StoreError(f"{path} holds no splits", mend="give a splits.json")
    if record.get("version") != VERSION:
        raise StoreError(
            f"{path} is of version {record.get('version')}: this Coverslip reads {VERSION}",
            mend="update Coverslip, or split again",
        )
    wanted = {"method", "by", "spec", "quality", "cohort", "rows", "folds"}
    if missing := wanted - set(record):
        raise StoreError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}", mend="split again")
    return record


def _difference(ids: tuple[str, ...], cohort: Rows) -> str:
    theirs, ours = set(ids), set(cohort.ids.tolist())
    if theirs == ours:
        return "the rows are the same; their order, cases, patients or labels differ"
    return f"{len(ids)} rows against {len(cohort)}, of which {len(theirs & ours)} are the same"
