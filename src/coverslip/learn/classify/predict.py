"""A classifier on plain pictures: a CSV with a row per picture."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coverslip.cohort.tiles import PICTURES
from coverslip.core.errors import CoverslipError, SlideNotFoundError, UsageError
from coverslip.core.files import atomic
from coverslip.learn.classify.pictures import read_picture
from coverslip.models.folder import ModelFolder
from coverslip.models.picture_classifier import BATCH, PictureClassifier, fitted
from coverslip.slides.tables import read_rows

TABLES = (".csv", ".tsv")


def predict_pictures(
    model: ModelFolder, images: Sequence[str], out: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``path,label,probability_<class>…`` of pictures.

    Parameters
    ----------
    images
        Files, folders (searched through) and CSVs with a column ``path``, relative to the CSV.

    Returns
    -------
    ``pictures`` (their number), ``classes``, ``counts`` by class, and ``failed``: path and message of
    each that could not be read.

    Raises
    ------
    SlideNotFoundError
        When a path leads nowhere.
    UsageError
        When there are no pictures, or the model does not classify pictures.
    """
    precision = "bf16" if model.card.preprocessing.get("precision") == "bf16" else "f32"
    classifier = PictureClassifier.load(model, precision=precision, **options)  # type: ignore[arg-type]
    paths = list(dict.fromkeys(path for image in images for path in pictures_of(image)))
    if not paths:
        expected = ", ".join(sorted(PICTURES))
        raise UsageError(f"there are no pictures in {', '.join(images)}", mend=f"expected {expected}")
    failed: list[dict[str, str]] = []
    counts: dict[str, int] = dict.fromkeys(classifier.classes, 0)
    with atomic(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", *(f"probability_{name}" for name in classifier.classes)])
        for start in range(0, len(paths), BATCH):
            for path, label, chances in _batch(classifier, paths[start : start + BATCH], failed):
                writer.writerow([path, label, *(f"{value:.6f}" for value in chances)])
                counts[label] += 1
    done = sum(counts.values())
    return {"pictures": done, "classes": list(classifier.classes), "counts": counts, "failed": failed}


def pictures_of(image: str) -> Iterator[str]:
    """Yield the pictures that a path names: itself, those in a folder, those of a table.

    Raises
    ------
    SlideNotFoundError
        When it leads nowhere.
    """
    path = Path(image)
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.suffix.lower() in PICTURES)
        yield from (str(file) for file in sorted(found) if not file.name.startswith("."))
    elif path.suffix.lower() in TABLES:
        for _, row in read_rows(path, ("path",)):
            yield str(path.parent / row["path"])
    elif not path.exists():
        raise SlideNotFoundError(f"there is no {image}", mend="check the path")
    else:
        yield image


def _batch(
    classifier: PictureClassifier, paths: list[str], failed: list[dict[str, str]]
) -> Iterator[tuple[str, str, Any]]:
    pictures, kept = [], []
    for path in paths:
        try:
            pictures.append(fitted(read_picture(path), classifier.side))
        except CoverslipError as error:
            failed.append({"path": path, "message": error.message})
        else:
            kept.append(path)
    if kept:
        for path, chances in zip(kept, classifier.probabilities(np.stack(pictures)), strict=True):
            yield path, classifier.classes[int(chances.argmax())], chances
