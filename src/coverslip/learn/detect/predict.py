"""A detector on plain pictures: an instance mask per picture, and a table of boxes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import CoverslipError
from coverslip.core.files import atomic
from coverslip.learn.classify.pictures import read_picture
from coverslip.learn.classify.predict import pictures_of
from coverslip.learn.detect.objects import Found, apart, label_image
from coverslip.learn.detect.picture import found_on, in_light
from coverslip.learn.segment.predict import check_stems, write_png
from coverslip.models.detectors_run import Detector
from coverslip.models.folder import ModelFolder

OVERLAP = 0.5
"""Of two objects of which one covers more than this share of the smaller, the surer is kept."""


def predict_pictures(
    model: ModelFolder, images: Sequence[str], out: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``objects.csv`` into the folder `out`, and ``<stem>.png`` (uint16) for each picture.

    Row ``n`` of a picture in the table is number ``n`` in its mask. Pictures are taken to have the model's
    mpp.

    Returns
    -------
    ``pictures``, ``classes``, ``counts`` (objects by class) and ``failed``: path and message.

    Raises
    ------
    SlideNotFoundError
        When a path leads nowhere.
    UsageError
        When there are no pictures, or two would write the same mask.
    """
    detector = Detector.load(model, **options)
    paths = list(dict.fromkeys(path for image in images for path in pictures_of(image)))
    check_stems(paths)
    folder = Path(out)
    failed: list[dict[str, str]] = []
    counts = np.zeros(len(detector.classes), np.int64)
    with atomic(folder / "objects.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "object", "class", "score", "left", "top", "width", "height"])
        for path in paths:
            try:
                pixels = read_picture(path)
            except CoverslipError as error:
                failed.append({"path": path, "message": str(error)})
                continue
            found = objects_on(detector, pixels)
            write_png(folder / f"{Path(path).stem}.png", label_image(found, pixels.shape[1::-1]))
            writer.writerows(_rows(path, found, detector.classes))
            counts += np.bincount(found.labels, minlength=len(counts))
    by_class = dict(zip(detector.classes, counts.tolist(), strict=True))
    done = len(paths) - len(failed)
    return {"pictures": done, "classes": list(detector.classes), "counts": by_class, "failed": failed}


def objects_on(detector: Detector, pixels: NDArray[np.uint8]) -> Found:
    """Return the objects of a picture as it was read, none of which covers most of another."""
    return apart(found_on(detector, in_light(detector, pixels)), overlap=OVERLAP)


def _rows(path: str, found: Found, classes: tuple[str, ...]) -> list[list[Any]]:
    return [
        [
            path,
            number,
            classes[label],
            f"{score:.4f}",
            *(f"{v:.2f}" for v in (*box[:2], box[2] - box[0], box[3] - box[1])),
        ]
        for number, (box, label, score) in enumerate(
            zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True), 1
        )
    ]
