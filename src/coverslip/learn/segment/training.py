"""What `SegmentTask.train` does: tiles, network, loop, model folder, evaluation on slides held back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import atomic
from coverslip.core.errors import UsageError
from coverslip.learn.fit import Fitted, fit
from coverslip.learn.loading import loader
from coverslip.learn.loop import seed_everything
from coverslip.learn.parse import plain
from coverslip.learn.seen import keep_seen
from coverslip.learn.segment.feed import FixedTiles, Pixels, TrainTiles
from coverslip.learn.segment.losses import Loss
from coverslip.learn.segment.margin import measured_margin
from coverslip.learn.segment.masks import Masks
from coverslip.learn.segment.module import SegmentModule, network_state
from coverslip.learn.segment.places import Places
from coverslip.learn.segment.scoring import score_slides
from coverslip.learn.told import Listen, Told
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.network import file_digest
from coverslip.models.segmenters import build_segmenter
from coverslip.models.segmenters_context import Surround
from coverslip.models.segmenters_run import Segmenter

if TYPE_CHECKING:
    from coverslip.cohort import Cohort, Splits
    from coverslip.learn.segment.drawn import DrawnSlide
    from coverslip.learn.segment.task import SegmentTask

Read = tuple["Cohort", list["DrawnSlide"], "Splits"]

AT_MOST_VALIDATED = 256
"""Places that are validated on after each epoch."""

LEAST_TILES = 64


@dataclass(frozen=True)
class Part:
    """Slides of one part of the split: their masks, and the places to cut tiles at."""

    slides: list[DrawnSlide]
    masks: list[Masks]
    places: Places
    pixels: Pixels

    def where(self, place: int) -> str:
        """Name a place."""
        slide = int(self.places.slide[place])
        step = self.masks[slide].downsample
        x, y = (float(v) * step for v in self.places.xy[place])
        return f"near ({x:.0f}, {y:.0f}) of {self.slides[slide].source.id}"


def train(task: SegmentTask, run: Path, read: Read, *, listen: Listen) -> dict[str, float]:
    """Fit the network, save the model folder, and return its figures on slides held back."""
    cohort, slides, splits = read
    run.mkdir(parents=True, exist_ok=True)
    _write_records(task, run, read)
    fold = splits.folds[0]
    listen(Told("laying tiles"))
    parts = {
        "train": part_of(task, [slides[i] for i in fold.train]),
        "val": part_of(task, [slides[i] for i in fold.val]),
    }
    fitted, segmenter = _fitted(task, parts, run / "models" / task.name / "fit", listen=listen)
    listen(Told("measuring the margin"))
    margin = measured_margin(segmenter, parts["train"].pixels, parts["train"].places)
    listen(Told("scoring slides held back"))
    held = [slides[i] for i in fold.test] or parts["val"].slides
    scores = score_slides(segmenter, held, masks_of(task, held), margin=margin, listen=listen)
    with atomic(run / "evaluation" / f"{task.name}.json") as partial:
        partial.write_text(json.dumps(scores, indent=1), encoding="utf-8")
    card = _card(task, cohort, splits, run)
    metrics = {"pooled": scores["pooled"], "slides": len(held), "best_epoch": fitted.epoch}
    whole = {**card, "metrics": metrics}
    whole["preprocessing"] = {"margin_px": margin, "background": task.background}
    ModelFolder.save(run / "models" / task.name, network_state(fitted.state()), FolderCard(**whole))
    keep_seen(run / "models" / task.name, [each.source for each in parts["train"].slides])
    return {"dice": scores["pooled"]["mean_dice"], "iou": scores["pooled"]["mean_iou"]}


def part_of(task: SegmentTask, slides: list[DrawnSlide]) -> Part:
    """Return masks and places of some slides."""
    masks = masks_of(task, slides)
    places = Places.of(masks, task.tile, len(task.classes))
    spec = task.spec()
    surround = None if spec.context == 1 else Surround(spec.context, spec.around)
    return Part(slides, masks, places, Pixels([each.source for each in slides], masks, surround))


def masks_of(task: SegmentTask, slides: Sequence[DrawnSlide]) -> list[Masks]:
    """Return the masks of some slides as the task wants them."""
    options: dict[str, Any] = {"priority": task.priority, "background": task.background}
    return [Masks.of(each, task.mpp, task.classes, **options) for each in slides]


def _fitted(
    task: SegmentTask, parts: dict[str, Part], folder: Path, *, listen: Listen
) -> tuple[Fitted, Segmenter]:
    spec, learned, checked = task.fit, parts["train"], parts["val"]
    if not len(learned.places):
        raise UsageError(
            f"no tile of {task.tile} px at {task.mpp:g} µm per pixel holds annotated pixels",
            mend="draw more, or take smaller tiles or a finer mpp",
        )
    tiles = TrainTiles(
        learned.pixels,
        learned.masks,
        learned.places,
        rows=task.tiles_per_epoch or max(LEAST_TILES, len(learned.places)),
        augment=task.augment,
        balance=task.balance,
        hard=task.hard,
        seed=spec.seed,
    )
    few = checked.places.take(_spread(len(checked.places), AT_MOST_VALIDATED))
    validation = FixedTiles(checked.pixels, checked.masks, few) if len(few) else None
    seed_everything(spec.seed)
    network = build_segmenter(task.spec(), pretrained=task.network.pretrained)
    module = SegmentModule(
        network,
        task.classes,
        Loss(task.loss),
        hardness=tiles.hardness if task.hard > 0 else None,
        where=learned.where,
    )
    fitted = fit(
        module,
        loader(tiles, spec, train=True),
        None if validation is None else loader(validation, spec, train=False),
        spec=spec,
        folder=folder,
        listen=listen,
    )
    network.load_state_dict(network_state(fitted.state()))
    segmenter = Segmenter(network, task.spec(), device=spec.device, threads=spec.threads)
    return fitted, segmenter


def _spread(count: int, at_most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(np.int64))


def _card(task: SegmentTask, cohort: Cohort, splits: Splits, run: Path) -> dict[str, Any]:
    fold = splits.folds[0]
    names = ("encoder", "depth", "width", "context", "around")
    parameters = {name: getattr(task.spec(), name) for name in names}
    return {
        "id": task.name,
        "task": task.key,
        "architecture": task.network.architecture,
        "parameters": parameters,
        "classes": task.classes,
        "mpp": task.mpp,
        "tile_px": task.tile,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "trained_on": {"cohort": Path(task.cohort).name, "digest": cohort.digest, "slides": len(fold.train)},
        "splits": {
            "digest": file_digest(str(run / "splits.json")),
            **{part: len(getattr(fold, part)) for part in ("train", "val", "test")},
        },
    }


def _write_records(task: SegmentTask, run: Path, read: Read) -> None:
    """Write what went in: task, cohort, splits, and what was done to the annotations."""
    import yaml

    cohort, slides, splits = read
    with atomic(run / "task.yaml") as partial:
        record = {"task": "segment", **plain(task)}
        partial.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True), encoding="utf-8")
    said = {each.source.id: {"shapes": len(each.drawn), "notes": list(each.drawn.notes)} for each in slides}
    with atomic(run / "annotations.json") as partial:
        partial.write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")
    if not (run / "splits.json").exists():
        splits.save(run / "splits.json")
    write_cohort(cohort, run / "cohort.parquet")


def write_cohort(cohort: Cohort, path: Path) -> None:
    """Write the table as used."""
    import pyarrow as pa
    from pyarrow import parquet

    with atomic(path) as partial:
        parquet.write_table(pa.table({name: list(v) for name, v in cohort.columns.items()}), partial)
