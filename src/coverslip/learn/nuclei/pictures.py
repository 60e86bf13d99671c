"""Training pictures: a folder or zip of pictures, label images of the same name, and an index."""

from __future__ import annotations

import csv
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.learn.nuclei.augment import DIAMETER, Picture
from coverslip.models.nuclei.intensity import levels, scaled

CALIBRATION = 8
"""One of so many training pictures is kept from training, to choose thresholds on."""


@dataclass(frozen=True)
class Named:
    """A picture with its name and the pixels as they were."""

    name: str
    picture: Picture


def load_pictures(archive: Path, index: Path, part: str) -> list[Named]:
    """Return the pictures of one part of the data.

    Parameters
    ----------
    archive
        Zip with ``images/NAME.png`` and ``labels/NAME.png`` (uint16, 0 = background).
    index
        CSV with the columns ``image_id``, ``modality`` and ``split`` (train or val).
    part
        ``"train"`` and ``"calibration"`` divide the training split, by a hash of the name; ``"val"``.

    Raises
    ------
    UsageError
        When the part is unknown or has no pictures.
    """
    with index.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if _part(row["image_id"], row["split"]) == part]
    if not rows:
        raise UsageError(f"{index} has no pictures of {part!r}; parts are train, calibration and val")
    with zipfile.ZipFile(archive) as zipped:
        return [Named(row["image_id"], _read(zipped, row["image_id"], row["modality"])) for row in rows]


def _part(name: str, split: str) -> str:
    if split != "train":
        return split
    kept = int(hashlib.sha256(name.encode()).hexdigest()[8:16], 16) % CALIBRATION == 0
    return "calibration" if kept else "train"


def _read(zipped: zipfile.ZipFile, name: str, modality: str) -> Picture:
    import cv2

    def decode(member: str, flags: int) -> NDArray[np.generic]:
        return np.asarray(cv2.imdecode(np.frombuffer(zipped.read(member), np.uint8), flags))

    return as_picture(
        decode(f"images/{name}.png", cv2.IMREAD_COLOR)[..., ::-1],
        decode(f"labels/{name}.png", cv2.IMREAD_UNCHANGED),
        modality.partition("_")[0],
    )


def as_picture(colour: NDArray[np.generic], labels: NDArray[np.generic], kind: str) -> Picture:
    """Return a training picture of pixels (h, w, 3) from 0 to 255 and labels (h, w)."""
    pixels, labels = colour.astype(np.float32) / np.float32(255), labels.astype(np.int32)
    y, x = np.nonzero(labels)
    ids = labels[y, x]
    areas = np.bincount(ids)
    there = areas > 0
    sums = np.stack([np.bincount(ids, x), np.bincount(ids, y)], axis=1)
    sizes = np.sqrt(areas[there] * 4 / np.pi)
    return Picture(
        pixels=scaled(pixels, levels(pixels)),
        labels=labels,
        kind=kind,
        diameter=float(np.median(sizes)) if len(sizes) else DIAMETER,
        centres=sums[there] / areas[there, None],
    )
