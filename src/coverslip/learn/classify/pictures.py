"""Pictures to learn from, cut once and read back at random: one array on disk, uint8 (n, side, side, 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import SlideError
from coverslip.learn.classify.augment import AugmentSpec, augmented
from coverslip.learn.loading import rng_of

if TYPE_CHECKING:
    import torch

RGB = NDArray[np.uint8]


def read_picture(path: str | Path) -> RGB:
    """Read a plain picture as uint8 (h, w, 3).

    Raises
    ------
    SlideError
        When it cannot be read.
    """
    import cv2

    try:
        raw = np.fromfile(path, np.uint8)  # cv2.imread knows no paths beyond ASCII everywhere
    except OSError as error:
        raise SlideError(f"{path} cannot be read: {error.strerror}", mend="check the path") from error
    picture = cv2.imdecode(raw, cv2.IMREAD_COLOR) if len(raw) else None
    if picture is None:
        raise SlideError(f"{path} is no picture that can be read", mend="give PNG, JPEG, TIFF or BMP")
    return np.asarray(picture[..., ::-1], np.uint8)


def store_pictures(
    file: Path, pictures: Callable[[], Iterator[RGB]], *, count: int, side: int
) -> NDArray[np.uint8]:
    """Write pictures into one array on disk, unless it is there; return it mapped into memory, read-only.

    Parameters
    ----------
    pictures
        Yields `count` pictures (side, side, 3); asked only when the file is not there.
    """
    shape = (count, side, side, 3)
    if file.exists():
        found = np.load(file, mmap_mode="r")
        if found.shape == shape:
            return found
    from coverslip.core.files import atomic

    with atomic(file) as partial:
        out = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        for row, picture in enumerate(pictures()):
            out[row] = picture
        out.flush()
        del out
    return np.load(file, mmap_mode="r")


@dataclass(frozen=True, eq=False)
class PictureRows:
    """Rows of an array of pictures, with their classes, as a loader draws them.

    Attributes
    ----------
    pixels
        uint8 (n, side, side, 3).
    rows
        Which of them, (m,).
    codes
        Class of each of these, (m,).
    augment
        None leaves pictures as they are.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    augment: AugmentSpec | None
    seed: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int]:
        import torch

        epoch, row = key
        picture = np.array(self.pixels[self.rows[row]])
        if self.augment is not None:
            picture = augmented(picture, self.augment, rng_of(self.seed, epoch, row))
        return torch.from_numpy(picture), int(self.codes[row])


def batches_of(
    pixels: Sequence[Any] | NDArray[np.uint8], rows: NDArray[np.int64], size: int
) -> Iterator[RGB]:
    """Yield the pictures of some rows in batches, in order."""
    for start in range(0, len(rows), size):
        yield np.stack([np.asarray(pixels[row]) for row in rows[start : start + size].tolist()])
