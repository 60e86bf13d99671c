"""Small pictures of a cohort's rows, to be compared with one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort.cohort import Cohort, Rows
from coverslip.cohort.rings import SIDE
from coverslip.cohort.table import refuse
from coverslip.core.errors import SlideError
from coverslip.slides import SlideSource, open_slide

BATCH = 512
"""Pictures held at full size in memory are one at a time; small ones are handed on in such batches."""

THUMBNAIL = 256
"""Longer side at which a slide is looked at before it is made small."""


def read_pictures(cohort: Rows) -> Iterator[NDArray[np.uint8]]:
    """Yield small pictures of the rows in order, uint8 (n, 64, 64, 3), in batches.

    A tile is resized; a slide's thumbnail is put in the middle of a white square, so that a slide scanned the
    other way round is the same picture turned.

    Raises
    ------
    UsageError
        With all tiles and slides that cannot be read.
    """
    ask: list[Callable[[], NDArray[np.uint8]]]
    if isinstance(cohort, Cohort):
        ask = [_slide(source) for source in cohort.to_sources()]
    else:
        ask = [_tile(path) for path in cohort.column("path").tolist()]
    problems: list[str] = []
    batch: list[NDArray[np.uint8]] = []
    for read in ask:
        try:
            batch.append(shrunk(read()))
        except SlideError as error:
            problems.append(error.message)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    refuse("the look at the pictures", problems, "mend these files, or check without pictures: look=False")
    if batch:
        yield np.stack(batch)


def shrunk(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a picture, uint8 (h, w, 3), small by area averaging, uint8 (64, 64, 3)."""
    import cv2

    how = cv2.INTER_AREA if min(rgb.shape[:2]) >= SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (SIDE, SIDE), interpolation=how), np.uint8)


def _tile(path: str) -> Callable[[], NDArray[np.uint8]]:
    def read() -> NDArray[np.uint8]:
        import cv2

        picture = cv2.imread(path, cv2.IMREAD_COLOR)
        if picture is None:
            raise SlideError(f"{path} is no picture that can be read")
        return np.asarray(picture[..., ::-1], np.uint8)

    return read


def _slide(source: SlideSource) -> Callable[[], NDArray[np.uint8]]:
    def read() -> NDArray[np.uint8]:
        with open_slide(source.path, mpp=source.mpp) as slide:
            return padded(slide.thumbnail(THUMBNAIL))

    return read


def padded(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a picture in the middle of a white square.

    Examples
    --------
    >>> padded(np.zeros((2, 4, 3), np.uint8))[:, 0, 0].tolist()
    [255, 0, 0, 255]
    """
    height, width = rgb.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = rgb
    return square
