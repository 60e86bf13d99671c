"""What OpenSlide reads and the TIFF reader does not: MRXS, SCN, BIF, VMS, VMU, SVSLIDE, NDPI.

Pixels come from OpenSlide's C function straight into an array, without a PIL image between.
"""

from __future__ import annotations

import ctypes
import threading
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import (
    CorruptSlideError,
    CorruptTileError,
    SlideError,
    UnsupportedSlideError,
    UsageError,
)
from coverslip.slides.heads import is_tiff, tiff_kind
from coverslip.slides.reader import BlockReader, Facts, Level
from coverslip.slides.source import is_url

BLOCK = 512
"""Width and height of a block: OpenSlide stores none of its own, and this many cost the least per pixel."""

CACHE = 96 << 20
"""Bytes of decoded tiles that OpenSlide keeps."""

SEARCH = 64
"""How many pixels before a block a position is sought that is a whole level-0 pixel."""

BEST = (".mrxs", ".vms", ".vmu", ".svslide", ".scn", ".bif")


class OpenSlideReader(BlockReader):
    """Reads slides with OpenSlide.

    Levels whose downsample is no whole number cannot be addressed by whole level pixels, since OpenSlide
    takes level-0 positions and shifts by the fraction that is left. There a block is read from the position
    before it whose fraction is smallest, so that a pixel is the same in whatever window it is read.
    """

    name: ClassVar[str] = "openslide"
    needs: ClassVar[str] = "openslide-python, openslide-bin"
    formats: ClassVar[str] = (
        "MRXS, Leica SCN, Ventana BIF, Hamamatsu NDPI, VMS and VMU, Sakura SVSLIDE, Trestle TIFF"
    )
    windows: ClassVar[bool] = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._handles = _Handles(path)
        self.facts = _facts(self._handles.mine(), path)

    @classmethod
    def probe(cls, path: str, head: bytes) -> float:
        """Score: best for formats of its own and NDPI, a fallback for TIFF."""
        if is_url(path):
            return 0.0
        ending = PurePosixPath(path).suffix.lower()
        if is_tiff(head):
            return {"tiff": 0.5, "vsi": 0.1}.get(tiff_kind(path, head), 0.95)
        if ending in BEST:
            return 0.95
        if head.startswith(b"SQLite format 3"):
            return 0.5
        # not DICOM: of what the DICOM reader refuses, OpenSlide would open another file of the series
        return 0.0

    @classmethod
    def open(cls, path: str, *, scene: int = 0) -> Self:
        """Open the file, see `Reader.open`."""
        if is_url(path):
            raise UnsupportedSlideError(f"{path}: OpenSlide reads local files only", mend="download it first")
        if scene:
            raise UsageError(f"{path} has no scene {scene}", mend="OpenSlide shows one scene: scene=0")
        return cls(path)

    # ----------------------------------------------------------------- pixels
    def block_size(self, level: int) -> Size:  # noqa: ARG002 - the same on all levels
        """Return width and height of the level's blocks."""
        return Size(BLOCK, BLOCK)

    def block(self, level: int, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode one block, see `Reader.block`."""
        whole = self.facts.levels[level]
        x, y = column * BLOCK, row * BLOCK
        size = Size(min(BLOCK, whole.width - x), min(BLOCK, whole.height - y))
        left, top = anchor(x, whole.downsample), anchor(y, whole.downsample)
        wide = Size(size.width + x - left, size.height + y - top)
        pixels = self._read(level, (left, top), wide, out if wide == size else None)
        return pixels[y - top :, x - left :]

    def window(self, level: int, x: int, y: int, size: Size) -> NDArray[Any]:
        """Read a rectangle of level pixels that lies wholly inside the level, as (h, w, c)."""
        if self.facts.levels[level].downsample.is_integer():
            return self._read(level, (x, y), size, None)
        return super().window(level, x, y, size)

    def _read(
        self, level: int, at: tuple[int, int], size: Size, out: NDArray[Any] | None
    ) -> NDArray[np.uint8]:
        downsample = self.facts.levels[level].downsample
        x, y = (round(value * downsample) for value in at)
        buffer = np.empty((size.height, size.width, 4), np.uint8)
        self._handles.read(buffer, (x, y), level)
        return rgb_on_white(buffer, out)

    def associated(self, name: str) -> NDArray[np.uint8]:
        """Return an associated image as (h, w, 3)."""
        if name not in self.facts.associated:
            raise UsageError(
                f"there is no associated image {name!r}",
                mend=f"there are: {', '.join(self.facts.associated)}",
            )
        return self._handles.mine().associated(name)

    def close(self) -> None:
        """Let go of all handles."""
        self._handles.close()


@lru_cache(maxsize=65536)
def anchor(position: int, downsample: float) -> int:
    """Return the position, up to `SEARCH` pixels before `position`, that is nearest to a whole level-0 pixel.

    Examples
    --------
    >>> anchor(512, 4.0), anchor(512, 2.5), anchor(511, 2.5)
    (512, 512, 510)
    """
    candidates = range(position, max(-1, position - SEARCH - 1), -1)
    return min(
        candidates, key=lambda at: (round(abs(at * downsample - round(at * downsample)) / downsample, 4), -at)
    )


def rgb_on_white(pixels: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Turn OpenSlide's premultiplied BGRA (h, w, 4) into RGB on white.

    Fully covered pixels come as they are and empty ones white; others are blended as Pillow would paste them.
    """
    import cv2

    if out is None or out.shape != (*pixels.shape[:2], 3) or not out.flags.c_contiguous:
        out = np.empty((*pixels.shape[:2], 3), np.uint8)
    cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB, dst=out)
    alpha = pixels[..., 3]
    if alpha.size and cv2.minMaxLoc(alpha)[0] < 255:
        out[alpha == 0] = 255
        partly = (alpha > 0) & (alpha < 255)
        if partly.any():
            out[partly] = _blend(out[partly], alpha[partly])
    return out


def _blend(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blend premultiplied colours (n, 3) on white: undo the product, then mix, rounded as by Pillow."""
    cover = alpha[:, None].astype(np.uint32)
    plain = np.minimum(rgb * np.uint32(255) // cover, 255)
    mixed = plain * cover + 255 * (255 - cover) + 128
    blended: NDArray[np.uint8] = (((mixed >> 8) + mixed) >> 8).astype(np.uint8)
    return blended


class _Handle:
    """One ``openslide_t``."""

    def __init__(self, path: str) -> None:
        import openslide
        from openslide import lowlevel

        self._error, self._low = openslide.OpenSlideError, lowlevel
        self.path = path
        try:
            self.slide = openslide.OpenSlide(path)
            self.slide.set_cache(openslide.OpenSlideCache(CACHE))
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise UnsupportedSlideError(f"{path} is of no format that OpenSlide knows") from error
        except openslide.OpenSlideError as error:
            raise _refusal(path, str(error)) from error

    def read(self, buffer: NDArray[np.uint8], at: tuple[int, int], level: int) -> None:
        """Fill `buffer` (h, w, 4) with premultiplied BGRA."""
        pointer = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
        height, width = buffer.shape[:2]
        try:
            self._low._read_region(self.slide._osr, pointer, *at, level, width, height)
        except self._error as error:
            raise CorruptTileError(f"OpenSlide at level-0 {at}, level {level}: {error}") from error

    def associated(self, name: str) -> NDArray[np.uint8]:
        """Return an associated image as (h, w, 3)."""
        try:
            image = self.slide.associated_images[name]
        except self._error as error:
            raise CorruptSlideError(f"{self.path}: its {name} cannot be read: {error}") from error
        rgba = np.asarray(image)
        cover = rgba[..., 3:4].astype(np.uint16)
        mixed: NDArray[np.uint8] = ((rgba[..., :3] * cover + 255 * (255 - cover)) // 255).astype(np.uint8)
        return mixed

    def icc(self) -> bytes | None:
        """Return the ICC profile."""
        try:
            profile: bytes | None = self._low.read_icc_profile(self.slide._osr)
        except self._error:
            return None
        return profile


class _Handles:
    """One handle for all threads.

    OpenSlide reads without a lock, and what one thread has decoded is in the cache for the others.

    A handle that met an error answers with it forever. It is then replaced, and what failed is tried once
    on a handle of its own, since the error may be another thread's.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._handle: _Handle | None = _Handle(path)

    def mine(self) -> _Handle:
        """Return the handle."""
        handle = self._handle
        if handle is None:
            raise SlideError(f"{self._path} is closed", mend="open it again")
        return handle

    def read(self, buffer: NDArray[np.uint8], at: tuple[int, int], level: int) -> None:
        """Fill `buffer`, see `_Handle.read`."""
        handle = self.mine()
        try:
            handle.read(buffer, at, level)
        except CorruptTileError:
            self._replace(handle)
            _Handle(self._path).read(buffer, at, level)

    def _replace(self, dead: _Handle) -> None:
        """Put a new handle in place of a dead one, which goes when the last thread lets go of it."""
        with self._lock:
            if self._handle is dead:
                self._handle = _Handle(self._path)

    def close(self) -> None:
        """Let go of the handle; it closes when no thread reads with it any more."""
        with self._lock:
            self._handle = None


def _refusal(path: str, said: str) -> UnsupportedSlideError | CorruptSlideError:
    """Turn OpenSlide's refusal to open into the kind of error that it means."""
    words = (
        "truncated",
        "Short read",
        "Premature",
        "Bogus",
        "corrupt",
        "Couldn't read",
        "Cannot read",
        "No such file",
    )
    if any(word in said for word in words):
        return CorruptSlideError(f"{path}: OpenSlide cannot open it: {said}", mend="copy the slide anew")
    return UnsupportedSlideError(f"{path}: OpenSlide cannot open it: {said}", mend="convert it to OME-TIFF")


def _facts(handle: _Handle, path: str) -> Facts:
    slide = handle.slide
    properties = {str(key): str(value) for key, value in slide.properties.items()}
    sizes = zip(slide.level_dimensions, slide.level_downsamples, strict=True)
    return Facts(
        levels=tuple(Level(i, w, h, float(down)) for i, ((w, h), down) in enumerate(sizes)),
        vendor=properties.get("openslide.vendor", "unknown"),
        mpp_x=_number(properties, "openslide.mpp-x"),
        mpp_y=_number(properties, "openslide.mpp-y"),
        mpp_origin="openslide.mpp-x",
        objective_power=_number(properties, "openslide.objective-power"),
        icc=handle.icc(),
        associated=tuple(slide.associated_images),
        scenes=(Path(path).stem,),
        properties=properties,
    )


def _number(properties: dict[str, str], key: str) -> float | None:
    text = properties.get(key)
    return float(text.replace(",", ".")) if text else None
