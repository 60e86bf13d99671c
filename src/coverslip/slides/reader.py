"""What a reader promises: facts of a file, and its pixels block by block.

A reader knows one family of formats and nothing of microns, regions or tiles: it lists levels and decodes
*blocks*, the pieces in which the file stores pixels (a TIFF tile, a DICOM frame, a strip). `Slide` and
`coverslip.tiles.stream` assemble everything else from blocks, so all formats behave alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size

HEAD_BYTES = 4096
"""How much of a file's start a probe is shown."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of the pyramid; level 0 is the finest.

    `downsample` follows OpenSlide: the mean of the width and height ratios to level 0.
    """

    index: int
    width: int
    height: int
    downsample: float


def levels_of(sizes: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Make levels from (width, height) pairs, finest first.

    Examples
    --------
    >>> [level.downsample for level in levels_of([(300, 250), (150, 125)])]
    [1.0, 2.0]
    """
    width, height = sizes[0]
    return tuple(Level(i, w, h, (width / w + height / h) / 2) for i, (w, h) in enumerate(sizes))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the file itself says; nothing is guessed or repaired here.

    Attributes
    ----------
    levels
        Finest first; sizes as shown, after the file's orientation is applied.
    mpp_x, mpp_y
        Microns per pixel of level 0 as stated by the file, or None.
    mpp_origin
        The tag or attribute that states it, e.g. ``"aperio.MPP"`` or ``"tiff.XResolution"``.
    channels
        ``("R", "G", "B")`` for brightfield colour, else the channels' names.
    dtype
        Of one channel: ``"uint8"``, ``"uint16"``, …
    icc
        The embedded ICC profile, or None.
    associated
        Names of label, macro, thumbnail, … images.
    scenes
        Names of the scenes of the file; one for most files.
    properties
        The file's own metadata, flat, for people to read.
    warnings
        Sentences about what is odd with the file.
    """

    levels: tuple[Level, ...]
    vendor: str
    mpp_x: float | None = None
    mpp_y: float | None = None
    mpp_origin: str | None = None
    objective_power: float | None = None
    channels: tuple[str, ...] = ("R", "G", "B")
    dtype: str = "uint8"
    icc: bytes | None = None
    associated: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ("0",)
    properties: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Reader(Protocol):
    """One family of formats. All methods may be called from several threads at once.

    A third party's reader registers under the entry-point group ``coverslip.readers`` and is checked by
    `coverslip.testing.check_reader`.
    """

    name: ClassVar[str]
    needs: ClassVar[str]
    """What must be installed, for ``coverslip doctor``; the formats it reads."""
    formats: ClassVar[str]
    windows: ClassVar[bool]
    """True when `window` reads any rectangle at less cost than the blocks that it touches."""
    facts: Facts

    @classmethod
    def probe(cls, path: str, head: bytes) -> float:
        """Score from 0 (not mine) to 1 (surely mine, and I serve it best), from name and first bytes.

        Reads no more of the file than it must, and raises for nothing that a foreign file could hold.
        """
        ...

    @classmethod
    def open(cls, path: str, *, scene: int = 0) -> Self:
        """Open the file.

        Raises
        ------
        UnsupportedSlideError
            When this reader cannot make pixels of it; the message says why.
        CorruptSlideError
            When it is of the right format but damaged.
        """
        ...

    def block_size(self, level: int) -> Size:
        """Return width and height of the level's blocks; those at the right and bottom edge may be cut."""
        ...

    def block(self, level: int, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode one block without holding the GIL for long.

        Parameters
        ----------
        out
            A buffer of shape (block height, block width, channels) to decode into; it may be used or not.

        Returns
        -------
        Array (h, w, c), cut to the level's size. It may be a view of `out`. A block that the file leaves
        empty is white (colour) or zero (other channels).

        Raises
        ------
        CorruptTileError
            When the block's bytes cannot be decoded; other blocks stay readable.
        """
        ...

    def window(self, level: int, x: int, y: int, size: Size) -> NDArray[Any]:
        """Read a rectangle of level pixels that lies wholly inside the level, as (h, w, c)."""
        ...

    def associated(self, name: str) -> NDArray[np.uint8]:
        """Return an associated image as (h, w, 3)."""
        ...

    def close(self) -> None:
        """Let go of files and handles; afterwards nothing can be read."""
        ...


class BlockReader:
    """Makes `window` from `block`, for readers whose files are stored in blocks.

    A subclass sets `facts` and writes `block_size` and `block`.
    """

    windows: ClassVar[bool] = False
    facts: Facts

    def block_size(self, level: int) -> Size:
        """Return width and height of the level's blocks."""
        raise NotImplementedError

    def block(self, level: int, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode one block, see `Reader.block`."""
        raise NotImplementedError

    def window(self, level: int, x: int, y: int, size: Size) -> NDArray[Any]:
        """Read a rectangle of level pixels that lies wholly inside the level, as (h, w, c)."""
        width, height = self.block_size(level)
        pixels = np.empty((size.height, size.width, len(self.facts.channels)), self.facts.dtype)
        for row in range(y // height, -(-(y + size.height) // height)):
            for column in range(x // width, -(-(x + size.width) // width)):
                paste(pixels, self.block(level, column, row), column * width - x, row * height - y)
        return pixels


LANES = 32
"""Bytes that libjpeg-turbo's AVX2 code writes at once."""

OFF_LANES = 16
"""Where a buffer should start within them, see `pixel_buffer`."""


def pixel_buffer(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """Return an empty array for `Reader.block` to decode into, placed where that is fast.

    libjpeg-turbo writes rows that start at a multiple of 32 bytes past the cache, others through it. The
    pixels are read again at once, so the first costs up to 60 % more time (measured: 0.25 against 0.155 ms
    for 256 × 256 px); hence a start that is no multiple of 32. Reuse buffers: fresh memory costs as much
    again in page faults.

    Examples
    --------
    >>> pixel_buffer(256, 256).shape
    (256, 256, 3)
    """
    count = height * width * channels
    room = np.empty(count + 2 * LANES, np.uint8)
    start = (OFF_LANES - address(room)) % LANES
    return room[start : start + count].reshape(height, width, channels)


def address(pixels: NDArray[Any]) -> int:
    """Return where an array lies in memory."""
    return int(pixels.__array_interface__["data"][0])


def paste(canvas: NDArray[Any], piece: NDArray[Any], x: int, y: int) -> None:
    """Copy `piece` onto `canvas` with its corner at (x, y); what falls outside is dropped.

    Examples
    --------
    >>> canvas = np.zeros((2, 3, 1), np.uint8)
    >>> paste(canvas, np.ones((2, 2, 1), np.uint8), -1, 1)
    >>> canvas[..., 0].tolist()
    [[0, 0, 0], [1, 0, 0]]
    """
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + piece.shape[0], canvas.shape[0]), min(x + piece.shape[1], canvas.shape[1])
    if top < bottom and left < right:
        canvas[top:bottom, left:right] = piece[top - y : bottom - y, left - x : right - x]
