"""Learning from tiles of slides, cross-validated by patient: tile classifier, aggregation, maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Cohort, Fold, Splits, Target, check_leakage
from coverslip.cohort.table import refuse
from coverslip.core.errors import CoverslipError, UsageError
from coverslip.learn.classify.cut import COLUMN, laid, read_shapes, some, taught
from coverslip.learn.classify.heat import heat_map, tile_table
from coverslip.learn.classify.learner import Gathered, Learner, telling
from coverslip.learn.classify.pictures import store_pictures
from coverslip.learn.classify.runs import TaskRun, probability_columns, splits_digest
from coverslip.learn.classify.specs import codes_of
from coverslip.learn.classify.tile_set import committee
from coverslip.learn.seen import keep_seen
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, Told
from coverslip.models.folder import ModelFolder
from coverslip.models.slide_classifier import SlideClassifier
from coverslip.models.votes import LEARNED, voted
from coverslip.slides import Slide, open_slide
from coverslip.store import Provenance
from coverslip.tiles import Tiles, stream
from coverslip.tiles.grid import settle_mpp

if TYPE_CHECKING:
    from coverslip.annotations import Annotations
    from coverslip.learn.classify.tiles import TilesTask
    from coverslip.models.picture_classifier import PictureClassifier

PIXELS = "pictures.npy"
BATCH = 64

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one slide teaches: its tiles, the class of each (-1 for none), and which are learned from."""

    tiles: Tiles
    codes: Index
    chosen: Index


@dataclass(frozen=True, eq=False)
class SlideTiles:
    """A task on tiles of slides, read and split."""

    task: TilesTask
    cohort: Cohort
    target: Target
    classes: tuple[str, ...]
    codes: Index
    splits: Splits
    learner: Learner

    @classmethod
    def read(cls, task: TilesTask) -> SlideTiles:
        """Read and split the cohort.

        Raises
        ------
        UsageError, UnknownNameError
            With all that is wrong with the table; when it cannot be split.
        """
        if task.mpp is None:
            raise UsageError("tiles of slides need an mpp", mend="say mpp: 0.5, or mpp: 20x")
        target = task.classes_of
        cohort = Cohort.read(task.cohort, labels=[target.column], labels_per=task.labels_per)
        classes, codes = codes_of(cohort, target)
        if task.tiles.outside is not None and task.tiles.outside not in classes:
            raise UsageError(f"outside is {task.tiles.outside!r}: expected one of {', '.join(classes)}")
        splits = task.split.of(cohort, target)
        if task.split.repeats > 1:
            raise UsageError("slides are cross-validated once", mend="leave split.repeats at 1")
        return cls(task, cohort, target, classes, codes, splits, task.learner(classes, cohort))

    # ------------------------------------------------------------------ looking
    def plan(self) -> Plan:
        """Open every slide, read its shapes, check network and split."""
        weights = self.learner.check()
        self._check_slides()
        split = self.task.split
        leakage = check_leakage(
            self.cohort, self.splits, target=self.target, look=split.look, tolerated=split.tolerated
        )
        leakage.refuse()
        counts = np.bincount(self.codes, minlength=len(self.classes)).tolist()
        cut, votes = self.task.tiles, self.task.votes
        facts = {
            "method": f"tiles of slides, from {cut.learn_from}",
            "slides": f"{len(self.cohort)} of {len(np.unique(self.cohort.column('patient')))} patients",
            "classes": ", ".join(f"{n} {c}" for n, c in zip(self.classes, counts, strict=True)),
            "split": f"{self.splits.method}; {len(self.splits.folds)} fold(s)",
            "tiles": f"{self.task.size} px at {self.task.mpp:g} µm per pixel, of each slide and class up to "
            f"{cut.most}",
            "aggregation": f"{votes.rule}" + (f", beside it {', '.join(votes.also)}" if votes.also else ""),
            **self.task.facts(weights, len(self.splits.folds)),
        }
        values = {"rows": len(self.cohort), "classes": list(self.classes), **weights}
        return Plan(facts, (*self.cohort.notes, *leakage.warnings), values)

    def _check_slides(self) -> None:
        """Open every slide at the mpp that is wanted and read what was drawn on it."""
        problems: list[str] = []
        seen: set[int] = set()
        for row, source in enumerate(self.cohort.to_sources()):
            try:
                with open_slide(source.path, mpp=source.mpp) as slide:
                    slide.require_colour()
                    settle_mpp(slide, self.task.mpp)
                    drawn = self.shapes(slide, row)
            except CoverslipError as error:
                problems.append(f"{source.id}: {error.message}")
                continue
            names = {shape.class_name for shape in drawn.shapes} if drawn is not None else set()
            seen |= {self.classes.index(str(name)) for name in names}
            seen |= (
                {int(self.codes[row])} if drawn is None and self.task.tiles.learn_from != "regions" else set()
            )
        refuse("the cohort", problems, "mend these, or take the slides out of the table")
        outside = self.task.tiles.outside
        taught_classes = seen | ({self.classes.index(outside)} if outside else set())
        missing = [name for code, name in enumerate(self.classes) if code not in taught_classes]
        if self.task.tiles.learn_from != "tissue" and missing:
            raise UsageError(
                f"no region of class {', '.join(missing)} was drawn",
                mend="draw some, or say outside: to give the tissue around the regions a class",
            )

    def shapes(self, slide: Slide, row: int) -> Annotations | None:
        """Return what was drawn on a slide; None where nothing is asked for, or there is no file."""
        cut = self.task.tiles
        if cut.learn_from == "tissue":
            return None
        if COLUMN not in self.cohort.columns:
            raise UsageError(
                f"the table has no column {COLUMN}", mend="add one: the file of each slide's shapes"
            )
        name = str(self.cohort.column(COLUMN)[row])
        if not name:
            return None
        return read_shapes(Path(self.cohort.name).parent / name, slide, cut, self.classes)

    # ------------------------------------------------------------------ learning
    def train(self, path: Path, *, listen: Listen) -> Trained:
        """Learn each fold, judge its test slides, learn the model that is kept."""
        made = TaskRun.begin(path, self.task, self.cohort, self.splits)
        lessons = [self._lesson(made, row, listen) for row in range(len(self.cohort))]
        gathered = self._gathered(path, lessons, listen)
        models = path / "models" / self.target.column
        said: dict[str, list[NDArray[np.float64]]] = {}
        for number in range(len(self.splits.folds)):
            for rule, chances in self._fold(made, gathered, number, listen).items():
                said.setdefault(rule, []).append(chances)
        for rule, chances_of in said.items():
            made.put_predictions(self._named(rule), self.classes, self._columns(chances_of))
        main = np.concatenate(said[self.task.votes.rule])
        rows = np.concatenate([fold.test for fold in self.splits.folds])
        metrics = {"accuracy": float((main.argmax(axis=1) == self.codes[rows]).mean()), "rows": len(rows)}
        self._final(gathered, models, metrics, listen)
        keep_seen(models, self.cohort.to_sources())
        (path / PIXELS).unlink(missing_ok=True)
        names = (self.target.column, *(f"{self.target.column}.{rule}" for rule in self.task.votes.also))
        return Trained(path, names, {self.target.column: metrics})

    def _named(self, rule: str) -> Target:
        column = self.target.column
        return (
            self.target if rule == self.task.votes.rule else replace(self.target, column=f"{column}.{rule}")
        )

    def _lesson(self, made: TaskRun, row: int, listen: Listen) -> Lesson:
        """Lay a slide's tiles, keep them in the run, and say what they teach."""
        source, run = self.cohort.to_sources()[row], made.run
        listen(Told("laying tiles", row + 1, len(self.cohort)))
        with open_slide(source.path, mpp=source.mpp) as slide:
            if not run.has(source.id, "tiles"):
                tissue, tiles = laid(slide, self.task.tiles.grid(self.task.size, float(self.task.mpp or 0)))
                for key, value in (
                    ("slide", slide.info() | {"id": source.id}),
                    ("tissue", tissue),
                    ("tiles", tiles),
                ):
                    run.put(source.id, key, value, provenance=self._provenance(made, key), replace=True)
            tiles = run.get(source.id, "tiles")
            drawn = self.shapes(slide, row)
        codes = taught(tiles, drawn, self.task.tiles, own=int(self.codes[row]), classes=self.classes)
        rng = np.random.default_rng([self.task.split.seed, row])
        return Lesson(tiles, codes, some(codes, self.task.tiles.most, rng))

    def _provenance(self, made: TaskRun, what: str) -> Provenance:
        inputs = {"task": made.provenance.fingerprint}
        return Provenance.make("train", 1, parameters={"what": what}, inputs=inputs, slide=None)

    def _gathered(self, path: Path, lessons: list[Lesson], listen: Listen) -> Gathered:
        count = sum(len(lesson.chosen) for lesson in lessons)
        if not count:
            raise UsageError("no tile teaches anything", mend="look at the regions, or learn_from: tissue")

        def pictures() -> Iterator[NDArray[np.uint8]]:
            for row, (source, lesson) in enumerate(zip(self.cohort.to_sources(), lessons, strict=True)):
                listen(Told("cutting tiles", row + 1, len(lessons)))
                with open_slide(source.path, mpp=source.mpp) as slide:
                    wanted = lesson.tiles.take(lesson.chosen)
                    for batch in stream(slide, wanted, batch_size=BATCH, threads=self.task.fit.threads):
                        yield from batch.pixels

        pixels = store_pictures(path / PIXELS, pictures, count=count, side=self.task.size)
        owner = np.concatenate([np.full(len(each.chosen), row) for row, each in enumerate(lessons)])
        codes = np.concatenate([each.codes[each.chosen] for each in lessons])
        return Gathered(pixels, owner.astype(np.int64), codes)

    def _fold(
        self, made: TaskRun, gathered: Gathered, number: int, listen: Listen
    ) -> dict[str, NDArray[np.float64]]:
        """Return probabilities of the fold's test slides, (m, k) by rule of aggregation."""
        fold = self.splits.folds[number]
        folder = made.run.path / "models" / self.target.column / f"fold{number}"
        heard = telling(listen, f"fold {number + 1} of {len(self.splits.folds)}")
        parts = (gathered.of(fold.train, taught=True), gathered.of(fold.val, taught=True))
        model = self.learner.learn(gathered, parts, folder, listen=heard, splits=self._about(fold, number))
        judge = self._with_votes(model, folder, (gathered, made, fold), heard)
        rules = (self.task.votes.rule, *self.task.votes.also)
        found: dict[str, list[NDArray[np.float64]]] = {rule: [] for rule in rules}
        for done, row in enumerate(fold.test.tolist()):
            heard(Told("judging slides", done + 1, len(fold.test)))
            chances, own = self._judged(made, judge, row, number)
            for rule in rules:
                found[rule].append(
                    own if rule == judge.rule else voted(chances, rule, top=self.task.votes.top)
                )
        return {rule: np.stack(each) for rule, each in found.items()}

    def _judged(
        self, made: TaskRun, judge: SlideClassifier, row: int, number: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Judge a slide, keep what was said of its tiles and the map; or take what is there."""
        source, run, name = self.cohort.to_sources()[row], made.run, self.target.column
        tiles = run.get(source.id, "tiles")
        key, mark = f"predictions/{name}", self._provenance(made, f"fold {number}")
        if run.fingerprint(source.id, key) == mark.fingerprint and run.has(source.id, f"maps/{name}"):
            kept = run.get(source.id, key)
            chances = np.stack([kept.columns[f"probability_{c}"] for c in self.classes], axis=1)
            return chances, np.array(kept.notes["slide"])
        with open_slide(source.path, mpp=source.mpp) as slide:
            batches = stream(slide, tiles, batch_size=BATCH, threads=self.task.fit.threads)
            seen = judge.judge(batches, len(tiles))
            own = judge.slide(seen)
            table = tile_table(tiles, seen.chances, self.classes, own)
            run.put(source.id, f"maps/{name}", heat_map(slide, tiles, seen.chances, self.classes),
                    provenance=mark, replace=True)  # fmt: skip
            run.put(source.id, key, table, provenance=mark, replace=True)
        return seen.chances, own

    def _with_votes(
        self, model: PictureClassifier, folder: Path, told: tuple[Gathered, TaskRun, Fold], listen: Listen
    ) -> SlideClassifier:
        """Return the fold's judge of slides; a learned aggregation is fitted on its training slides."""
        if self.task.votes.rule not in LEARNED:
            return SlideClassifier(model)
        from coverslip.learn.classify.vote_fit import fitted_votes

        return fitted_votes(self, model, folder, told, listen)

    def _about(self, fold: Fold, number: int) -> dict[str, Any]:
        counts = {name: len(rows) for name, rows in fold.parts()}
        return {"digest": splits_digest(self.splits), "fold": number, "rows": counts, "by": self.splits.by}

    def _columns(self, said: list[NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
        rows = np.concatenate([fold.test for fold in self.splits.folds])
        numbers = np.concatenate([np.full(len(f.test), k) for k, f in enumerate(self.splits.folds)])
        ids = {name: self.cohort.column(name)[rows] for name in ("slide", "case", "patient")}
        truth = np.array(self.classes)[self.codes[rows]]
        chances = probability_columns(self.classes, np.concatenate(said))
        return {**ids, "fold": numbers.astype(np.int64), "truth": truth, **chances}

    def _final(self, gathered: Gathered, models: Path, metrics: dict[str, Any], listen: Listen) -> None:
        """Keep one model: learned anew from all slides, or the first fold's."""
        measured = {"test": metrics, "of": "the folds' models on slides that did not train them"}
        first = ModelFolder.load(models / "fold0")
        final = self.task.kept
        alone = final == "committee" and len(self.splits.folds) == 1
        if final == "first" or alone or self.task.votes.rule in LEARNED:
            ModelFolder.save(models, first.state(), replace(first.card, metrics=measured))
            return
        if final == "committee":
            committee(models, len(self.splits.folds), {"metrics": measured})
            return
        refit = self.task.refit(self.learner, models, len(self.splits.folds))
        every = gathered.of(np.arange(len(self.cohort)), taught=True)
        about = {"digest": splits_digest(self.splits), "fold": None, "rows": {"train": len(self.cohort)}}
        none = np.zeros(0, np.int64)
        refit.learn(gathered, (every, none), models, listen=telling(listen, "all slides"), splits=about)
        kept = ModelFolder.load(models)
        ModelFolder.save(models, kept.state(), replace(kept.card, metrics=measured))
