"""Learning from published tile sets: pictures with labels, cross-validated by source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Fold, Splits, Target, TileCohort, check_leakage
from coverslip.core.errors import CoverslipError, UsageError
from coverslip.learn.classify.learner import Gathered, Learner, telling
from coverslip.learn.classify.pictures import read_picture, store_pictures
from coverslip.learn.classify.runs import TaskRun, probability_columns, splits_digest
from coverslip.learn.classify.specs import codes_of
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, Told
from coverslip.models.picture_classifier import fitted

if TYPE_CHECKING:
    from coverslip.learn.classify.tiles import TilesTask

PIXELS = "pictures.npy"


@dataclass(frozen=True, eq=False)
class TileSet:
    """A task on a cohort of tiles, read and split."""

    task: TilesTask
    cohort: TileCohort
    target: Target
    classes: tuple[str, ...]
    codes: NDArray[np.int64]
    splits: Splits
    learner: Learner

    @classmethod
    def read(cls, task: TilesTask) -> TileSet:
        """Read and split the cohort.

        Raises
        ------
        UsageError, UnknownNameError
            With all that is wrong with the table; when it cannot be split.
        """
        cohort = TileCohort.read(task.cohort)
        classes, codes = codes_of(cohort, task.classes_of)
        splits = task.split_of_set.of(cohort, task.classes_of)
        learner = task.learner(classes, cohort)
        return cls(task, cohort, task.classes_of, classes, codes, splits, learner)

    # ------------------------------------------------------------------ looking
    def plan(self) -> Plan:
        """Check the network, the pictures and the split; a split that leaks is refused."""
        weights = self.learner.check()
        leakage = check_leakage(
            self.cohort,
            self.splits,
            target=self.target,
            look=self.task.split.look,
            tolerated=self.task.split.tolerated,
        )
        leakage.refuse()
        counts = np.bincount(self.codes, minlength=len(self.classes)).tolist()
        sources = len(np.unique(self.cohort.column("source")))
        share = f"{leakage.share:.1%} of tested tiles have a copy in training" if leakage.share > 0 else ""
        facts = {
            "method": "tiles, of a tile set",
            "tiles": f"{len(self.cohort)} of {sources} sources",
            "classes": ", ".join(f"{n} {c}" for n, c in zip(self.classes, counts, strict=True)),
            "split": f"{self.splits.method}; {len(self.splits.folds)} fold(s)",
            "copies": share or ("none found" if self.task.split.look else "not looked for"),
            **self.task.facts(weights, len(self.splits.folds)),
        }
        values = {
            "rows": len(self.cohort),
            "classes": list(self.classes),
            "leaked": _known(leakage.share),
            **weights,
        }
        return Plan(facts, (*self.cohort.notes, *leakage.warnings), values)

    # ------------------------------------------------------------------ learning
    def train(self, path: Path, *, listen: Listen) -> Trained:
        """Learn each fold, predict its test tiles, learn the model that is kept."""
        made = TaskRun.begin(path, self.task, self.cohort, self.splits)
        listen(Told("reading tiles", 0, len(self.cohort)))
        pixels = store_pictures(path / PIXELS, self._pictures, count=len(self.cohort), side=self.task.size)
        gathered = Gathered(pixels, np.arange(len(self.cohort)), self.codes)
        models = path / "models" / self.target.column
        said = [self._fold(gathered, number, models, listen) for number in range(len(self.splits.folds))]
        columns = self._columns(said)
        made.put_predictions(self.target, self.classes, columns)
        right = columns["truth"] == np.array(self.classes)[np.concatenate(said).argmax(axis=1)]
        metrics = {"accuracy": float(right.mean()), "rows": len(right)}
        self._final(gathered, models, metrics, listen)
        (path / PIXELS).unlink(missing_ok=True)
        return Trained(path, (self.target.column,), {self.target.column: metrics})

    def _pictures(self) -> Iterator[NDArray[np.uint8]]:
        for path in self.cohort.column("path").tolist():
            yield fitted(read_picture(path), self.task.size)

    def _fold(self, gathered: Gathered, number: int, models: Path, listen: Listen) -> NDArray[np.float32]:
        """Return probabilities of the fold's test tiles."""
        fold, folder = self.splits.folds[number], models / f"fold{number}"
        what = f"fold {number + 1} of {len(self.splits.folds)}"
        file = folder / "test.npy"
        if file.exists():
            return np.asarray(np.load(file), np.float32)
        more = {"splits": self._about(fold, number)}
        model = self.learner.learn(
            gathered, (fold.train, fold.val), folder, listen=telling(listen, what), **more
        )
        listen(Told(f"{what}: predicting", 0, len(fold.test)))
        chances = model.probabilities(gathered.pixels[fold.test])
        _save(file, chances)
        return chances

    def _about(self, fold: Fold, number: int) -> dict[str, Any]:
        counts = {name: len(rows) for name, rows in fold.parts()}
        return {"digest": splits_digest(self.splits), "fold": number, "rows": counts, "by": self.splits.by}

    def _columns(self, said: list[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        rows = np.concatenate([fold.test for fold in self.splits.folds])
        numbers = np.concatenate([np.full(len(f.test), k) for k, f in enumerate(self.splits.folds)])
        return {
            **self._ids(rows),
            "fold": numbers.astype(np.int64),
            "truth": np.array(self.classes)[self.codes[rows]],
            **probability_columns(self.classes, np.concatenate(said)),
        }

    def _ids(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return what names rows in predictions; what no split cuts stands as patient."""
        return {"tile": self.cohort.ids[rows], "patient": self.cohort.column("source")[rows]}

    def _final(self, gathered: Gathered, models: Path, metrics: dict[str, Any], listen: Listen) -> None:
        """Keep one model: learned anew from all rows, or the first fold's."""
        measured = {"metrics": {"test": metrics, "of": "the folds' models on rows that did not train them"}}
        count = len(self.splits.folds)
        final = self.task.kept
        if final == "first" or (final == "committee" and count == 1):
            _copied(models / "fold0", models, measured)
            return
        if final == "committee":
            committee(models, count, measured)
            return
        everyone = np.arange(len(self.cohort))
        none = np.zeros(0, np.int64)
        refit = self.task.refit(self.learner, models, count)
        about = {"digest": splits_digest(self.splits), "fold": None, "rows": {"train": len(everyone)}}
        refit.learn(gathered, (everyone, none), models, listen=telling(listen, "all rows"), splits=about)
        _copied(models, models, measured)


def check_pictures(paths: list[str]) -> None:
    """Read every picture.

    Raises
    ------
    UsageError
        With those that cannot be read.
    """
    problems = []
    for path in paths:
        try:
            read_picture(path)
        except CoverslipError as error:
            problems.append(error.message)
    if problems:
        raise UsageError(
            f"{len(problems)} pictures cannot be read: {'; '.join(problems[:5])}", mend="mend them"
        )


def committee(models: Path, count: int, changes: dict[str, Any]) -> None:
    """Save the folds' models as one, which averages what they say."""
    from dataclasses import replace

    from coverslip.models.classifiers import MEMBERS
    from coverslip.models.committee import joined
    from coverslip.models.folder import ModelFolder

    folds = [ModelFolder.load(models / f"fold{number}") for number in range(count)]
    card = folds[0].card
    splits = {"digest": card.splits.get("digest"), "fold": None, "folds": count}
    whole = replace(card, parameters={**card.parameters, MEMBERS: count}, splits=splits, **changes)
    ModelFolder.save(models, joined([fold.state() for fold in folds]), whole)


def _copied(source: Path, target: Path, changes: dict[str, Any]) -> None:
    """Save a model folder under another path, with parts of its card changed."""
    from dataclasses import replace

    from coverslip.models.folder import ModelFolder

    model = ModelFolder.load(source)
    ModelFolder.save(target, model.state(), replace(model.card, **changes))


def _save(file: Path, chances: NDArray[np.float32]) -> None:
    from coverslip.core.files import atomic

    with atomic(file) as partial:
        np.save(partial, chances, allow_pickle=False)


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN
