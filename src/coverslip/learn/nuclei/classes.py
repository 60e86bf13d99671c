"""The task ``nuclei-classes``: from nuclei that somebody gave classes to a head that gives them to all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from coverslip.cohort import Cohort, Splits, given, holdout
from coverslip.core import atomic
from coverslip.core.errors import UsageError
from coverslip.learn.nuclei.head import figures, fit_head
from coverslip.learn.nuclei.labelled import Given, Labelled, labelled_nuclei, read_given
from coverslip.learn.parse import plain
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, Told, silent
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.nuclei.classes import TASK
from coverslip.models.nuclei.detector import load_nuclei
from coverslip.models.nuclei.features import names_of


@dataclass(frozen=True, kw_only=True)
class NucleiClassesTask:
    """Learn to tell classes of nuclei from what the nuclei network saw of each.

    Parameters
    ----------
    cohort
        Table of slides with a column ``annotations``: a file in any format that
        `coverslip.annotations.Annotations.read` knows, or the objects of a run (``….parquet``). A point gives
        its class to the nucleus in which it lies, an outline to every nucleus whose centre lies in it. Nuclei
        that nobody gave a class are not looked at.
    classes
        Names.
    model
        Folder of the nuclei model; nothing for the one that ships. The head belongs to it.
    name
        Of the head.
    rename
        Class in the files → class here.
    test, seed
        Share of the patients held back to measure on, and the seed; a column ``split`` is taken instead where
        there is one. ``test: 0`` learns from all and measures nothing.
    folds
        Of the patients that train, to choose how strongly weights are held down.
    threads
        CPU threads of the network.
    """

    key: ClassVar[str] = TASK

    cohort: Path
    classes: tuple[str, ...]
    model: Path | None = None
    name: str = "nuclei-classes"
    rename: dict[str, str] = field(default_factory=dict)
    test: float = 0.25
    seed: int = 0
    folds: int = 4
    threads: int = 2

    def __post_init__(self) -> None:
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise UsageError(f"classes {list(self.classes)} cannot be: expected two or more different names")
        if self.folds < 2:
            raise UsageError(f"folds {self.folds} are too few: expected 2 or more")

    def plan(self) -> Plan:
        """Read the cohort, all labels and the splits; find nothing.

        Raises
        ------
        UsageError
            With all that is wrong with table and labels.
        """
        cohort, labels, splits = self.read()
        counts = {name: sum(each.count(name) for each in labels) for name in self.classes}
        parts = _parts(splits, len(cohort))
        facts = {
            "slides": ", ".join(f"{len(rows)} {name}" for name, rows in parts.items()),
            "labels": ", ".join(f"{count} {name}" for name, count in counts.items()),
            "network": "the one that ships" if self.model is None else str(self.model),
        }
        return Plan(facts, values={"slides": len(cohort), "labels": counts})

    def read(self) -> tuple[Cohort, list[Given], Splits | None]:
        """Read the cohort, all labels and the splits, checked."""
        cohort = Cohort.read(self.cohort, labels=[])
        labels = read_given(cohort, self.classes, self.rename)
        if "split" in cohort.columns:
            splits = given(cohort)
        elif self.test == 0:
            splits = None
        else:
            splits = holdout(cohort, test=self.test, val=0, stratify=None, seed=self.seed)
        rows = _parts(splits, len(cohort))["train"]
        lacking = [name for name in self.classes if not sum(labels[row].count(name) for row in rows)]
        if lacking:
            raise UsageError(
                f"no slide that trains has a label of {', '.join(lacking)}",
                mend="label some, look at the split, or leave the class out",
            )
        return cohort, labels, splits

    def train(self, run: Path, *, listen: Listen = silent) -> Trained:
        """Find the labelled nuclei, fit the head, and measure it on the slides held back."""
        from coverslip.learn.segment.training import write_cohort

        cohort, labels, splits = self.read()
        run.mkdir(parents=True, exist_ok=True)
        _write_task(self, run)
        write_cohort(cohort, run / "cohort.parquet")
        if splits is not None:
            splits.save(run / "splits.json")
        detector = load_nuclei(self.model)
        found = labelled_nuclei(cohort, labels, detector, (self.classes, self.threads), listen)
        parts = _parts(splits, len(cohort))
        train, test = found.of(parts["train"]), found.of(parts["test"])
        listen(Told("fitting the head"))
        head, strength = fit_head(train, self.classes, detector.digest, folds=self.folds)
        scores = figures(test.labels, head.probabilities(test.features), self.classes)
        scores |= {"nuclei_train": len(train), "nuclei_test": len(test), **found.notes}
        with atomic(run / "evaluation" / f"{self.name}.json") as partial:
            partial.write_text(json.dumps(scores, indent=1), encoding="utf-8")
        card = self._card(cohort, train, scores, strength)
        ModelFolder.save(run / "models" / self.name, head.tensors(), card)
        shown = {k: float(v) for k, v in scores.items() if isinstance(v, int | float)}
        return Trained(run, (self.name,), {self.name: shown})

    def _card(self, cohort: Cohort, train: Labelled, scores: dict[str, Any], strength: float) -> FolderCard:
        detector = load_nuclei(self.model)
        counts = np.bincount(train.labels, minlength=len(self.classes)).tolist()
        return FolderCard(
            id=self.name,
            task=TASK,
            architecture="linear",
            parameters={"inverse_penalty": strength},
            classes=self.classes,
            mpp=detector.mpp,
            preprocessing={
                "network": detector.digest,
                "features": list(names_of(detector.network.widths)),
            },
            trained_on={
                "cohort": Path(self.cohort).name,
                "digest": cohort.digest,
                "nuclei": dict(zip(self.classes, counts, strict=True)),
            },
            metrics={"test": scores},
        )


def _parts(splits: Splits | None, count: int) -> dict[str, list[int]]:
    """Return the rows that train, and those that are measured on."""
    if splits is None:
        return {"train": list(range(count)), "test": []}
    fold = splits.folds[0]
    return {"train": [*fold.train.tolist(), *fold.val.tolist()], "test": fold.test.tolist()}


def _write_task(task: NucleiClassesTask, run: Path) -> None:
    import yaml

    with atomic(run / "task.yaml") as partial:
        record = {"task": TASK, **plain(task)}
        partial.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True), encoding="utf-8")
