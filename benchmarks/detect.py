"""Train Mask R-CNN on nuclei and its detector on blood cells, and measure both on pictures they never saw.

    python benchmarks/detect.py nuclei OUT --data DIR [--epochs 9]
    python benchmarks/detect.py blood OUT --data DIR [--epochs 8]

`nuclei`: the corrected DSB 2018 pictures with their split; AP = TP / (TP + FP + FN) of masks, pooled and by
modality, as the nuclei network is judged. `blood`: BCCD smears; every fifth is held back; mean AP of boxes.
A red cell is 7.5 µm across, about a hundred pixels; smears are seen more than twice as coarse.

Each writes its cohort, task and run into OUT, and prints the figures as JSON; a second call goes on where the
first was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

BLOOD_MPP = 0.075
"""Microns per pixel of the smears."""


def nuclei(folder: Path, data: Path, epochs: int) -> dict[str, Any]:
    """Return AP = TP / (TP + FP + FN) of masks on the val split of the nuclei, by modality and pooled."""
    from coverslip.learn.task import load_task

    with (data / "nuclei" / "dsb2018_train_subset_index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    with zipfile.ZipFile(data / "nuclei" / "dsb2018_train_subset.zip") as archive:
        if not (folder / "labels").exists():
            archive.extractall(folder)
    rows = []
    for number, row in enumerate(index):
        name = row["image_id"]
        # one in eight of the pictures that train chooses the epoch; those called val are the test
        part = "test" if row["split"] == "val" else "val" if number % 8 == 0 else "train"
        rows.append((name, f"images/{name}.png", f"labels/{name}.png", part))
    task = {
        "task": "detect",
        "classes": ["nucleus"],
        "name": "nuclei",
        "object_px": 20,
        "stretch": True,
        "repeat": 2,
        "augment": {"side": 192, "grey": 0.2, "invert": 0.15},
        "fit": {"epochs": epochs, "batch_size": 6, "lr": 0.0015, "threads": 1},
    }
    _cohort(folder, rows, ("slide", "path", "annotations", "split"), task)
    since = time.process_time()
    load_task(folder / "task.yaml").train(folder / "run", listen=_told)
    spent = time.process_time() - since
    modality = {row["image_id"]: row["modality"].partition("_")[0] for row in index}
    return {**_judged(folder, modality), "cpu_seconds": spent}


def _judged(folder: Path, modality: dict[str, str]) -> dict[str, Any]:
    """Hold the masks of the test pictures against the true ones, with `coverslip.evaluate.instances`."""
    from coverslip.evaluate.instances import instances
    from coverslip.learn.detect.objects import label_image
    from coverslip.learn.detect.predict import objects_on
    from coverslip.models.detectors_run import Detector

    detector = Detector.load(folder / "run" / "models" / "nuclei", threads=1)
    by_kind: dict[str, list[Any]] = {}
    with (folder / "pictures.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "test":
                pixels = cv2.imread(str(folder / row["path"]))[..., ::-1].copy()
                truth = cv2.imread(str(folder / row["annotations"]), cv2.IMREAD_UNCHANGED).astype(np.int32)
                found = label_image(objects_on(detector, pixels), truth.shape[::-1]).astype(np.int32)
                by_kind.setdefault(modality[row["slide"]], []).append((truth, found))
    pooled = {"pooled": [pair for pairs in by_kind.values() for pair in pairs]}
    result = {}
    for kind, pairs in (pooled | by_kind).items():
        counts = [(m.tp, m.fp, m.fn) for m in instances(pairs).matches.values()]
        ap = [true / max(1, true + false + missed) for true, false, missed in counts]
        result[kind] = {"ap50": ap[0], "mean_ap": float(np.mean(ap)), "pictures": len(pairs)}
    return result


def blood(folder: Path, data: Path, epochs: int) -> dict[str, Any]:
    """Return mean AP at IoU 0.5 of boxes of blood cells, on every fifth smear."""
    from coverslip.learn.task import load_task

    with zipfile.ZipFile(data / "cells_detection" / "bccd_trainval.zip") as archive:
        if not (folder / "Annotations").exists():
            archive.extractall(folder)
    names = sorted(path.stem for path in (folder / "Annotations").glob("*.xml"))
    parts = ["test" if i % 5 == 0 else "val" if i % 10 == 1 else "train" for i in range(len(names))]
    rows = [
        (name, f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml", part, BLOOD_MPP)
        for name, part in zip(names, parts, strict=True)
    ]
    task = {
        "task": "detect",
        "classes": ["WBC", "RBC", "Platelets"],
        "masks": False,
        "repair": True,
        "mpp": 0.18,
        "name": "blood",
        "network": {"at_most": 100, "finest": 4},
        "augment": {"side": 192},
        "repeat": 2,
        "fit": {"epochs": epochs, "batch_size": 6, "lr": 0.0015, "threads": 1},
    }
    _cohort(folder, rows, ("slide", "path", "annotations", "split", "mpp"), task)
    since = time.process_time()
    load_task(folder / "task.yaml").train(folder / "run", listen=_told)
    record: dict[str, Any] = json.loads((folder / "run" / "evaluation" / "blood.json").read_text())
    return {**record, "cpu_seconds": time.process_time() - since}


def _cohort(folder: Path, rows: list[tuple[Any, ...]], head: tuple[str, ...], task: dict[str, Any]) -> None:
    with (folder / "pictures.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    (folder / "task.yaml").write_text(yaml.safe_dump({**task, "cohort": "pictures.csv"}, sort_keys=False))


def _told(told: Any) -> None:
    values = {k: round(v, 4) if isinstance(v, float) else v for k, v in told.values.items()}
    print(time.strftime("%T"), told.what, told.done, told.total, values, flush=True)


WORK = {"nuclei": (nuclei, 9), "blood": (blood, 8)}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=WORK)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    work, epochs = WORK[given.what]
    given.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps(work(given.out, given.data, given.epochs or epochs), indent=1))


if __name__ == "__main__":
    main()
