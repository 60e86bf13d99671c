"""Learning from bags, fold by fold: the cohort read, models kept, predictions of bags that taught none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Cohort, Splits, check_leakage
from coverslip.core.errors import UsageError
from coverslip.core.files import atomic
from coverslip.learn.bags.bags import BagSet
from coverslip.learn.bags.learner import BagLearner
from coverslip.learn.bags.targets import Wanted
from coverslip.learn.classify.learner import telling
from coverslip.learn.classify.runs import TaskRun, splits_digest
from coverslip.learn.seen import keep_seen
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, Told
from coverslip.models.aggregators import aggregator_card
from coverslip.models.folder import ModelFolder
from coverslip.store import Prediction

if TYPE_CHECKING:
    from coverslip.learn.bags.task import BagsTask

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

LARGE = 50_000
"""Tiles of a bag from which on a plan says how much memory a step may take."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A task with its cohort read, split, and its bags found.

    Attributes
    ----------
    wanted
        The truth of each target, a row per bag.
    """

    task: BagsTask
    cohort: Cohort
    splits: Splits
    bags: BagSet
    wanted: tuple[Wanted, ...]

    @classmethod
    def of(cls, task: BagsTask) -> Reading:
        """Read what the task names.

        Raises
        ------
        UsageError, UnknownNameError
            With what is wrong with table, labels, splits or features.
        """
        columns = [target.column for target in task.wanted]
        per = "case" if task.bag == "case" else "slide"
        cohort = Cohort.read(task.cohort, labels=columns, labels_per=per, files=False)
        of_rows = [Wanted.of(target, cohort) for target in task.wanted]
        splits = task.split.of(cohort, task.stratify)  # type: ignore[arg-type]
        bags = BagSet.of(cohort, task.features, per=task.bag, encoder=task.encoder)
        first = [int(rows[0]) for rows in bags.rows]
        wanted = tuple(replace(each, codes=each.codes[first]) for each in of_rows)
        return cls(task, cohort, splits, bags, wanted)

    # ------------------------------------------------------------------ looking
    def plan(self, *, whole: bool) -> Plan:
        """Check splits, classes of each fold, features (all, or some of each slide); build the network."""
        card = aggregator_card(self.task.aggregator)
        leakage = check_leakage(self.cohort, self.splits, target=self.task.stratify, look=False)
        leakage.refuse()
        for number, (train, _, _) in enumerate(self.folds()):
            for wanted in self.wanted:
                wanted.require_classes(train, f"fold {number + 1}")
        self._require_coords(card.uses_coords)
        self.bags.check(whole=whole)
        weights = self.learner().check()
        tiles = [bag.tiles for bag in self.bags.bags]
        facts = {
            "method": f"bags, one per {self.task.bag}",
            "bags": f"{len(tiles)} of {min(tiles):,} to {max(tiles):,} tiles",
            "features": f"{self.bags.dim} per tile, {self.bags.encoder or 'encoder not stated'}",
            **{f"target {each.target.column}": _counts(each) for each in self.wanted},
            "split": f"{self.splits.method}; {len(self.splits.folds)} fold(s)",
            "network": f"{card.id} ({card.cite}), {weights:,} weights",
        }
        notes = [*self.cohort.notes, *leakage.warnings]
        if self.task.sample is None and max(tiles) >= LARGE:
            notes.append(f"a step sees all {max(tiles):,} tiles of the largest bag; sample: N takes fewer")
        return Plan(facts, tuple(notes), {"bags": len(tiles), "dim": self.bags.dim, "weights": weights})

    def _require_coords(self, wanted: bool) -> None:
        lacking = [
            name for bag in self.bags.bags for name, facts in bag.slides.items() if not facts.has_coords
        ]
        if wanted and lacking:
            raise UsageError(
                f"aggregator {self.task.aggregator!r} needs the tiles' places, which the features of "
                f"{len(lacking)} slides do not hold, e.g. {lacking[0]!r}",
                mend="choose another aggregator, e.g. abmil",
            )

    def folds(self) -> list[tuple[Rows, Rows, Rows]]:
        """Return the bags that train, choose and test, per fold: a split of rows as one of bags."""
        heads = np.array([rows[0] for rows in self.bags.rows])
        return [
            (
                np.flatnonzero(np.isin(heads, fold.train)),
                np.flatnonzero(np.isin(heads, fold.val)),
                np.flatnonzero(np.isin(heads, fold.test)),
            )
            for fold in self.splits.folds
        ]

    def learner(self) -> BagLearner:
        """Return what learns."""
        return BagLearner(task=self.task, bags=self.bags, wanted=self.wanted, trained_on=self._about())

    def _about(self) -> dict[str, Any]:
        rows = {"rows": len(self.cohort), "bags": len(self.bags)}
        return {"cohort": Path(self.cohort.name).name, "digest": self.cohort.digest, **rows}

    # ------------------------------------------------------------------ learning
    def train(self, path: Path, *, listen: Listen) -> Trained:
        """Learn each fold, predict its test bags, learn the model that is kept."""
        made = TaskRun.begin(path, self.task, self.cohort, self.splits)
        models, learner = path / "models" / self.task.model_name, self.learner()
        said: list[list[Floats]] = []
        folds = self.folds()
        for number, (train, val, test) in enumerate(folds):
            folder, what = models / f"fold{number}", f"fold {number + 1} of {len(folds)}"
            split = {"digest": splits_digest(self.splits), "fold": number, "by": self.splits.by}
            split["rows"] = {"train": len(train), "val": len(val), "test": len(test)}
            model = learner.learn((train, val), folder, listen=telling(listen, what), splits=split)
            listen(Told(f"{what}: predicting", 0, len(test)))
            said.append(_kept(folder / "test.npz", lambda m=model, t=test: learner.predict(m, t)))  # type: ignore[misc]
        summary = {}
        for place, wanted in enumerate(self.wanted):
            chances = np.concatenate([each[place] for each in said])
            columns = self._columns(wanted, [test for _, _, test in folds], chances)
            notes = {
                "kind": wanted.target.kind,
                "classes": list(wanted.classes),
                "target": wanted.target.column,
            }
            key = f"predictions/{wanted.target.column}"
            made.run.put(
                None, key, Prediction(columns, notes), provenance=made.provenance.now(), replace=True
            )
            summary[wanted.target.column] = figures(wanted, np.concatenate([t for *_, t in folds]), chances)
        self._final(learner, models, summary, listen)
        keep_seen(models, self.cohort.to_sources())
        return Trained(path, tuple(summary), summary)

    def _columns(self, wanted: Wanted, tests: Sequence[Rows], said: Floats) -> dict[str, NDArray[Any]]:
        bags = np.concatenate(tests)
        rows = np.array([self.bags.rows[bag][0] for bag in bags.tolist()])
        ids = ("slide", "case", "patient") if self.task.bag == "slide" else ("case", "patient")
        columns: dict[str, NDArray[Any]] = {name: self.cohort.column(name)[rows] for name in ids}
        columns["fold"] = np.repeat(np.arange(len(tests)), [len(test) for test in tests])
        columns |= replace(wanted, codes=wanted.codes[bags]).truth
        if wanted.target.kind == "regression":
            return {**columns, "prediction": said[:, 0]}
        if wanted.target.kind != "multilabel":
            columns["prediction"] = np.asarray(wanted.classes, object)[said.argmax(axis=1)]
        return columns | {f"probability_{name}": said[:, k] for k, name in enumerate(wanted.classes)}

    def _final(self, learner: BagLearner, models: Path, summary: dict[str, Any], listen: Listen) -> None:
        """Keep one model: learned anew from all bags, or the first fold's."""
        if self.task.final == "first":
            kept = ModelFolder.load(models / "fold0")
        else:
            none = np.zeros(0, np.int64)
            refit = learner.for_all(models, len(self.splits.folds))
            split = {"digest": splits_digest(self.splits), "fold": None, "rows": {"train": len(self.bags)}}
            heard = telling(listen, "all bags")
            refit.learn((np.arange(len(self.bags)), none), models, listen=heard, splits=split)
            kept = ModelFolder.load(models)
        metrics = {"test": summary, "of": "the folds' models on bags that did not train them"}
        ModelFolder.save(models, kept.state(), replace(kept.card, metrics=metrics))


def figures(wanted: Wanted, bags: Rows, said: Floats) -> dict[str, float]:
    """Return the first figure of each kind of target: accuracy (of all labels together), or mean error."""
    truth = wanted.codes[bags]
    if wanted.target.kind == "regression":
        found = {"mean_absolute_error": float(np.abs(truth - said[:, 0]).mean())}
    elif wanted.target.kind == "multilabel":
        found = {"accuracy": float(((said > 0.5) == truth).mean())}
    else:
        found = {"accuracy": float((said.argmax(axis=1) == truth).mean())}
    return {**found, "rows": float(len(bags))}


def _counts(wanted: Wanted) -> str:
    if wanted.target.kind == "regression":
        return f"{wanted.codes.min():g} to {wanted.codes.max():g}"
    if wanted.codes.ndim == 2:
        counts = wanted.codes.sum(axis=0).astype(int).tolist()
    else:
        counts = np.bincount(wanted.codes.astype(int), minlength=len(wanted.classes)).tolist()
    return ", ".join(f"{name} {count}" for name, count in zip(wanted.classes, counts, strict=True))


def _kept(file: Path, make: Any) -> list[Floats]:
    """Return what a fold said of its test bags; made once."""
    if not file.exists():
        said = make()
        with atomic(file) as partial, partial.open("wb") as opened:
            np.savez(opened, *said)
    with np.load(file, allow_pickle=False) as found:
        return [found[name] for name in found.files]
