"""What `DetectTask.train` does: squares, network, loop, model folder, average precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coverslip.core import atomic
from coverslip.learn.detect.feed import Squares, Whole, together
from coverslip.learn.detect.module import DetectModule, network_state
from coverslip.learn.detect.picture import found_on
from coverslip.learn.detect.scoring import Ranked, best_score, ranked
from coverslip.learn.detect.sources import Drawn, Windows
from coverslip.learn.fit import Fitted, fit
from coverslip.learn.loading import loader
from coverslip.learn.loop import seed_everything
from coverslip.learn.parse import plain
from coverslip.learn.segment.training import write_cohort
from coverslip.learn.told import Listen, Told
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD
from coverslip.models.detectors import DetectorSpec, build_detector
from coverslip.models.detectors_light import Sight
from coverslip.models.detectors_run import Detector
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.network import file_digest

if TYPE_CHECKING:
    from coverslip.cohort import Cohort, Splits
    from coverslip.learn.detect.task import DetectTask

Read = tuple["Cohort", list[Drawn], "Splits"]

LEAST = 0.05
"""Objects of a lower score count nowhere."""


def train(task: DetectTask, run: Path, read: Read, *, listen: Listen) -> dict[str, float]:
    """Fit the network, save the model folder, and return its figures on pictures held back."""
    cohort, drawn, splits = read
    run.mkdir(parents=True, exist_ok=True)
    _write_records(task, run, read)
    fold = splits.folds[0]
    parts = {
        name: Windows([drawn[i] for i in getattr(fold, name)], task.classes, masks=task.masks)
        for name in ("train", "val", "test")
    }
    spec = task.spec([drawn[i] for i in fold.train])
    fitted = _fitted(task, parts, spec, (run / "models" / task.name / "fit", listen))
    network = build_detector(spec)
    network.load_state_dict(network_state(fitted.state()))
    detector = Detector(
        network,
        task.classes,
        least_score=LEAST,
        sight=Sight(task.object_px, task.stretch),
        device=task.fit.device,
        threads=task.fit.threads,
    )
    judged = ranked_of(detector, parts["val"] if len(parts["val"]) else parts["train"])
    least = best_score(judged)
    listen(Told("scoring pictures held back"))
    held = parts["test"] if len(parts["test"]) else parts["val"]
    scores = scores_of(task.classes, ranked_of(detector, held), least)
    with atomic(run / "evaluation" / f"{task.name}.json") as partial:
        partial.write_text(json.dumps(scores, indent=1), encoding="utf-8")
    card = _card(task, spec, run, (cohort, splits))
    card["preprocessing"] = {"least_score": least, "object_px": task.object_px, "stretch": task.stretch}
    ModelFolder.save(
        run / "models" / task.name, network_state(fitted.state()), FolderCard(**card, metrics=scores)
    )
    return {"mean_ap50": scores["mean_ap50"], "ap50_of_counts": scores["ap50_of_counts"]}


def _fitted(
    task: DetectTask, parts: dict[str, Windows], of: DetectorSpec, where: tuple[Path, Listen]
) -> Fitted:
    spec, (folder, listen) = task.fit, where
    seed_everything(spec.seed)
    network = build_detector(of, pretrained=task.network.pretrained)
    scales = {name: part.scales(task.object_px) for name, part in parts.items()}
    repeats = parts["train"].squares(task.repeat)
    squares = Squares(parts["train"], task.augment, seed=spec.seed, repeats=repeats, scales=scales["train"])
    validation = Whole(parts["val"], scales["val"])
    return fit(
        DetectModule(network, task.classes, where=parts["train"].where),
        loader(squares, spec, train=True, collate=together),
        loader(validation, spec, train=False, collate=together, batch_size=1) if len(validation) else None,
        spec=spec,
        folder=folder,
        listen=listen,
    )


def ranked_of(detector: Detector, windows: Windows) -> list[Ranked]:
    """Find the objects of every window and match them with the true ones."""

    def pairs() -> Any:
        for index in range(len(windows)):
            example = windows[index]
            found = found_on(detector, example.pixels)
            yield (example.boxes, example.classes - 1), found

    return ranked(pairs(), len(detector.classes))


def scores_of(classes: tuple[str, ...], by_class: list[Ranked], least: float) -> dict[str, Any]:
    """Return figures as JSON: AP by class over all scores, and counts at the least score."""
    values = [each.average_precision for each in by_class]
    true, false, missed = (int(v) for v in np.sum([each.at(least) for each in by_class], axis=0))
    known = [value for value in values if value == value]  # noqa: PLR0124 - NaN where there is no such object
    return {
        "ap50": {n: v for n, v in zip(classes, values, strict=True) if v == v},  # noqa: PLR0124
        "mean_ap50": float(np.mean(known)) if known else 0.0,
        "least_score": least,
        "tp": true,
        "fp": false,
        "fn": missed,
        "ap50_of_counts": true / max(1, true + false + missed),
    }


def _card(task: DetectTask, spec: DetectorSpec, run: Path, read: tuple[Cohort, Splits]) -> dict[str, Any]:
    cohort, splits = read
    fold = splits.folds[0]
    names = ("backbone", "width", "finest", "levels", "anchor", "at_most")
    parts = {part: len(getattr(fold, part)) for part in ("train", "val", "test")}
    return {
        "id": task.name,
        "task": task.key,
        "architecture": spec.architecture,
        "parameters": {name: getattr(spec, name) for name in names},
        "classes": task.classes,
        "mpp": task.mpp,
        "tile_px": task.augment.side,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "trained_on": {
            "cohort": Path(task.cohort).name,
            "digest": cohort.digest,
            "pictures": len(fold.train),
        },
        "splits": {"digest": file_digest(str(run / "splits.json")), **parts},
    }


def _write_records(task: DetectTask, run: Path, read: Read) -> None:
    """Write what went in: task, cohort, splits, and what was done to the objects."""
    import yaml

    cohort, drawn, splits = read
    said = {each.source.id: {"objects": each.count, "notes": list(each.notes)} for each in drawn}
    with atomic(run / "annotations.json") as partial:
        partial.write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")
    with atomic(run / "task.yaml") as partial:
        record = {"task": "detect", **plain(task)}
        partial.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True), encoding="utf-8")
    if not (run / "splits.json").exists():
        splits.save(run / "splits.json")
    write_cohort(cohort, run / "cohort.parquet")
