"""A segmenter on plain pictures: a mask per picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import CoverslipError, UsageError
from coverslip.core.files import atomic
from coverslip.learn.classify.pictures import read_picture
from coverslip.learn.classify.predict import pictures_of
from coverslip.models.folder import ModelFolder
from coverslip.models.segmenters_run import Segmenter, whole

SIZE = 512
"""Side of the squares in which larger pictures are worked on, before the margin."""


def predict_pictures(
    model: ModelFolder, images: Sequence[str], out: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``<stem>.png`` into the folder `out` for each picture, and ``classes.json``.

    A mask has the picture's size; its values are 1 for the first class, 2 for the second and so on. Pictures
    are taken to have the model's mpp.

    Parameters
    ----------
    images
        Files, folders (searched through) and CSVs with a column ``path``.
    options
        ``device`` and ``threads``.

    Returns
    -------
    ``pictures`` (their number), ``classes``, ``counts`` (pixels by class) and ``failed``: path and message.

    Raises
    ------
    SlideNotFoundError
        When a path leads nowhere.
    UsageError
        When there are no pictures, or two would write the same mask.
    """
    segmenter = Segmenter.load(model, **options)
    paths = list(dict.fromkeys(path for image in images for path in pictures_of(image)))
    folder = Path(out)
    check_stems(paths)
    margin = int(model.card.preprocessing.get("margin_px", 0))
    failed: list[dict[str, str]] = []
    counts = np.zeros(len(segmenter.classes), np.int64)
    for path in paths:
        try:
            mask = mask_of(segmenter, read_picture(path), margin=margin)
        except CoverslipError as error:
            failed.append({"path": path, "message": str(error)})
            continue
        counts += np.bincount(mask.ravel(), minlength=len(counts) + 1)[1:]
        write_png(folder / f"{Path(path).stem}.png", mask)
    with atomic(folder / "classes.json") as partial:
        numbers = {name: label for label, name in enumerate(segmenter.classes, 1)}
        partial.write_text(json.dumps({"classes": numbers, "mpp": model.card.mpp}), encoding="utf-8")
    by_class = dict(zip(segmenter.classes, counts.tolist(), strict=True))
    done = len(paths) - len(failed)
    return {"pictures": done, "classes": list(segmenter.classes), "counts": by_class, "failed": failed}


def mask_of(segmenter: Segmenter, pixels: NDArray[np.uint8], *, margin: int) -> NDArray[np.uint8]:
    """Return the class of every pixel of a picture, from 1 on."""
    size = max(segmenter.multiple, SIZE // segmenter.multiple * segmenter.multiple)
    found = whole(segmenter, pixels, size=size, margin=margin)
    return (found.argmax(axis=0) + 1).astype(np.uint8)


def check_stems(paths: Sequence[str]) -> None:
    """Refuse pictures of which two would have a result of the same name.

    Raises
    ------
    UsageError
        Naming them; or when there are none.
    """
    if not paths:
        raise UsageError("there are no pictures", mend="give files, or a folder that holds some")
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(Path(path).stem, path)
        if other != path:
            raise UsageError(
                f"{other} and {path} would have results of the same name",
                mend="apply the model to each folder alone",
            )


def write_png(path: Path, picture: NDArray[Any]) -> None:
    """Write a picture whole or not at all."""
    import cv2

    ok, data = cv2.imencode(".png", picture)
    if not ok:
        raise UsageError(f"{path} cannot be written as PNG: {picture.dtype} {picture.shape}")
    with atomic(path) as partial:
        partial.write_bytes(data.tobytes())
