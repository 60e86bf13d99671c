"""Colour maps as chains of tables and 3 × 3 products on 16-bit numbers.

Reinhard's normaliser and augmentation are of that kind, because both steps run at memory speed, without the
GIL, in OpenCV: a table turns 8 bits into 16 (say, intensity into optical density), a product mixes the three
channels, the next table turns 16 bits into 16 or back into 8. Rounding to 16 bits is far below a grey level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import UsageError
from coverslip.stain.density import WHITE, Background, check_rgb, od_table

DECADE = 16384
"""16-bit steps per decade of optical density; 65535 stands for 4 decades, which is black."""

BLOCK = 65536
"""Pixels worked on at a time: what passes between the steps stays in the cache."""

Step = NDArray[Any]

ColourMap = Callable[[NDArray[np.uint8], NDArray[np.uint8] | None], NDArray[np.uint8]]
"""From uint8 colours (…, 3) to uint8 colours; into the second array when there is one. Safe from threads."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """A map from uint8 colours to uint8 colours.

    Parameters
    ----------
    steps
        Tables, uint16 (256 or 65536 entries, or (1, 256, 3) for one per channel), the last one uint8, and
        between them float32 matrices (3, 3) or (3, 4) (the last column is added). Values are rounded and cut
        off at 0 and 65535 after each matrix.

    Examples
    --------
    >>> same = od_chain(np.eye(3))
    >>> tile = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    >>> bool((same(tile) == tile).all())
    True
    """

    steps: tuple[Step, ...]

    def __call__(self, rgb: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Map uint8 (…, 3); into `out` (contiguous, of the same shape, may be `rgb` itself) when given.

        Raises
        ------
        UsageError
            When `rgb` is not uint8 (…, 3), or `out` does not fit.
        """
        rgb, out = prepared(rgb, out)
        source, target = rgb.reshape(1, -1, 3), out.reshape(1, -1, 3)
        scratch = np.empty((2, 1, min(BLOCK, source.shape[1]), 3), np.uint16)
        for start in range(0, source.shape[1], BLOCK):
            self._block(source[:, start : start + BLOCK], target[:, start : start + BLOCK], scratch)
        return out

    def _block(
        self, source: NDArray[np.uint8], target: NDArray[np.uint8], scratch: NDArray[np.uint16]
    ) -> None:
        value: NDArray[Any] = source
        last = len(self.steps) - 1
        for place, step in enumerate(self.steps):
            result = target if place == last else scratch[place % 2, :, : source.shape[1]]
            _apply(step, value, result)
            value = result


def prepared(
    rgb: NDArray[np.uint8], out: NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return contiguous pixels, and where they go.

    Raises
    ------
    UsageError
        When `rgb` is not uint8 (…, 3), or `out` does not fit.
    """
    check_rgb(rgb)
    if out is None:
        out = np.empty(rgb.shape, np.uint8)
    elif out.shape != rgb.shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise UsageError(f"out is {out.dtype} {out.shape}: expected contiguous uint8 {rgb.shape}")
    return np.ascontiguousarray(rgb), out


def _apply(step: Step, source: NDArray[Any], target: NDArray[Any]) -> None:
    import cv2

    if step.shape[0] == 3:
        cv2.transform(source, step, target)
    elif source.dtype == np.uint8 or _wide_tables():
        cv2.LUT(source, step, target)
    else:
        np.take(step, source, out=target, mode="wrap")  # the same numbers, slower: OpenCV before 5


@cache
def _wide_tables() -> bool:
    """Say whether this OpenCV looks up 16-bit numbers; before 5.0 it did not."""
    import cv2

    try:
        cv2.LUT(np.zeros((1, 1, 3), np.uint16), np.zeros(65536, np.uint8))
    except cv2.error:
        return False
    return True


def wide(values: ArrayLike, scale: float) -> NDArray[np.uint16]:
    """Return `values` × `scale` as 16-bit table entries, cut off at 0 and 65535."""
    return np.clip(np.rint(np.asarray(values, dtype=np.float64) * scale), 0, 65535).astype(np.uint16)


def od_in(background: Background = WHITE) -> NDArray[np.uint16]:
    """Return the table from intensity to 16-bit optical density."""
    return wide(od_table(background), DECADE)


@cache
def od_out(background: float = WHITE) -> NDArray[np.uint8]:
    """Return the table from 16-bit optical density to intensity, read-only.

    It takes as long to make as a tile takes to be mapped, so it is made once.
    """
    light = background * 10 ** (-np.arange(65536) / DECADE)
    table = np.clip(np.rint(light), 0, WHITE).astype(np.uint8)
    table.setflags(write=False)
    return table


def od_chain(
    matrix: ArrayLike, source: Background = WHITE, offset: Sequence[float] = (0.0, 0.0, 0.0)
) -> Chain:
    """Return the map that multiplies optical densities (a column) by `matrix` and adds `offset`, in decades.

    Parameters
    ----------
    matrix
        (3, 3).
    source
        Background of the pixels that come in; what comes out has white glass (255).
    offset
        Added to the densities of red, green and blue.
    """
    step = np.hstack([np.asarray(matrix, dtype=np.float64), np.array(offset)[:, None] * DECADE])
    return Chain((od_in(source), as_step(step), od_out()))


def as_step(matrix: ArrayLike) -> NDArray[np.float32]:
    """Return a matrix (3, 3) or (3, 4) as a step of a chain."""
    return np.ascontiguousarray(matrix, dtype=np.float32)
