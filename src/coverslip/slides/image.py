"""Plain pictures (JPEG, PNG, WebP, TIFF in one huge strip) as slides: a pyramid made on the fly.

The picture is decoded once, when pixels are first asked for. Above 64 megapixels it and its coarser levels
live in an unnamed temporary file that the system pages in and out, so memory stays bounded; the file is gone
when the slide is closed or the process ends.
"""

from __future__ import annotations

import math
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CorruptSlideError, SlideError, UnsupportedSlideError, UsageError
from coverslip.slides.heads import is_tiff, picture_kind, tiff_kind
from coverslip.slides.orientation import TURNS, shown_size, turned
from coverslip.slides.reader import BlockReader, Facts, Level
from coverslip.slides.source import is_url
from coverslip.slides.tiff_decode import on_white

MAX_PIXELS = 1 << 31
"""Larger pictures are refused: they want tiles and stored levels."""

IN_MEMORY = 64_000_000
"""Up to this many pixels a picture is kept in memory."""

SMALLEST = 1024
"""Levels are halved until the longer side is at most this."""

BLOCK = 512
STRIP = 512
"""Rows that are halved at once."""

EXIF_ORIENTATION = 0x0112
DECODE_ERRORS = (ValueError, RuntimeError, TypeError, IndexError, EOFError, OSError, SyntaxError)
"""Pillow calls a broken PNG a SyntaxError."""

CHANNELS = {1: ("grey",), 3: ("R", "G", "B")}


@dataclass(frozen=True, slots=True)
class _Header:
    """What a picture's header says."""

    kind: str
    size: Size
    samples: int
    dtype: str
    orientation: int
    icc: bytes | None
    warnings: tuple[str, ...] = ()


class ImageReader(BlockReader):
    """Reads plain pictures.

    Parameters
    ----------
    path
        Of a local file.
    header
        Its size and form.
    """

    name: ClassVar[str] = "image"
    needs: ClassVar[str] = "pillow, imagecodecs"
    formats: ClassVar[str] = "JPEG, PNG, WebP, flat TIFF without tiles"
    windows: ClassVar[bool] = True

    def __init__(self, path: str, header: _Header) -> None:
        self._path = path
        self._header = header
        self._lock = threading.Lock()
        self._pyramid: list[NDArray[Any]] | None = None
        self._files: list[IO[bytes]] = []
        self._closed = False
        shown = shown_size(header.size, header.orientation)
        self.facts = Facts(
            levels=_levels(shown),
            vendor="picture",
            channels=CHANNELS[header.samples],
            dtype=header.dtype,
            icc=header.icc,
            scenes=(Path(path).stem,),
            properties={"picture.format": header.kind},
            warnings=header.warnings,
        )

    @classmethod
    def probe(cls, path: str, head: bytes) -> float:
        """Score: plain pictures are mine; of TIFF only what the TIFF reader cannot cut into blocks."""
        if is_url(path):
            return 0.0
        if is_tiff(head):
            return 0.2 if tiff_kind(path, head) == "tiff" else 0.0
        return 0.8 if picture_kind(head) else 0.0

    @classmethod
    def open(cls, path: str, *, scene: int = 0) -> Self:
        """Read the header, see `Reader.open`; pixels are decoded when they are first asked for."""
        if is_url(path):
            raise UnsupportedSlideError(
                f"{path}: pictures are read from local files only", mend="download it first"
            )
        if scene:
            raise UsageError(f"{path} has no scene {scene}", mend="a picture is one scene: scene=0")
        header = _header(path)
        if header.size.width * header.size.height > MAX_PIXELS:
            raise UnsupportedSlideError(
                f"{path} has {header.size.width} × {header.size.height} px in one piece; "
                f"the limit is {MAX_PIXELS:,} px",
                mend="convert it to tiles, e.g. `vips tiffsave in out.tif --tile --pyramid --bigtiff`",
            )
        return cls(path, header)

    # ----------------------------------------------------------------- pixels
    def block_size(self, level: int) -> Size:  # noqa: ARG002 - the same on all levels
        """Return width and height of the level's blocks."""
        return Size(BLOCK, BLOCK)

    def block(self, level: int, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Copy one block, see `Reader.block`."""
        x, y = column * BLOCK, row * BLOCK
        pixels = self._level(level)[y : y + BLOCK, x : x + BLOCK]
        if out is None or out.shape != pixels.shape or out.dtype != pixels.dtype:
            return np.array(pixels)
        out[...] = pixels
        return out

    def window(self, level: int, x: int, y: int, size: Size) -> NDArray[Any]:
        """Copy a rectangle of level pixels that lies wholly inside the level, as (h, w, c)."""
        return np.array(self._level(level)[y : y + size.height, x : x + size.width])

    def associated(self, name: str) -> NDArray[np.uint8]:
        """Refuse: a plain picture has none."""
        raise UsageError(f"there is no associated image {name!r}", mend="a plain picture has none")

    def close(self) -> None:
        """Let go of the picture and its temporary file."""
        with self._lock:
            self._closed, self._pyramid = True, None
            for file in self._files:
                file.close()

    def _level(self, level: int) -> NDArray[Any]:
        if self._pyramid is None:
            with self._lock:
                if self._closed:
                    raise SlideError(f"{self._path} is closed", mend="open it again")
                if self._pyramid is None:
                    self._pyramid = self._build()
        return self._pyramid[level]

    def _build(self) -> list[NDArray[Any]]:
        stored = self._room(self._header.size, self._stored_samples())
        _decode(self._path, self._header, stored)
        base = turned(stored, self._header.orientation)
        if base.shape[2] == 4:
            base = self._opaque(base)
        levels = [base]
        for level in self.facts.levels[1:]:
            room = self._room(Size(level.width, level.height), base.shape[2])
            halve(levels[-1], room)
            levels.append(room)
        return levels

    def _stored_samples(self) -> int:
        return 4 if self._header.kind.endswith("+alpha") else self._header.samples

    def _opaque(self, pixels: NDArray[Any]) -> NDArray[Any]:
        room = self._room(Size(pixels.shape[1], pixels.shape[0]), 3)
        for top in range(0, len(pixels), STRIP):
            room[top : top + STRIP] = on_white(pixels[top : top + STRIP], premultiplied=False)
        return room

    def _room(self, size: Size, samples: int) -> NDArray[Any]:
        """Return an empty array, in memory or, when the picture is large, in an unnamed temporary file."""
        shape, dtype = (size.height, size.width, samples), np.dtype(self._header.dtype)
        if self._header.size.width * self._header.size.height <= IN_MEMORY:
            return np.empty(shape, dtype)
        file = tempfile.TemporaryFile(prefix="coverslip-")  # noqa: SIM115 - closed in `close`
        self._files.append(file)
        return np.memmap(file, dtype, "w+", shape=shape)


def _levels(size: Size) -> tuple[Level, ...]:
    """Return sizes halved and rounded up, so that a level's pixel covers exactly 2^k level-0 pixels."""
    count = max(0, math.ceil(math.log2(max(size) / SMALLEST))) + 1 if max(size) > SMALLEST else 1
    return tuple(Level(k, -(-size.width >> k), -(-size.height >> k), float(1 << k)) for k in range(count))


def halve(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Write the means of 2 × 2 squares of `source` to `target`, strip by strip; an odd edge is repeated.

    Examples
    --------
    >>> target = np.empty((1, 2, 1), np.uint8)
    >>> halve(np.array([[[1], [3], [8]], [[1], [3], [8]]], np.uint8), target)
    >>> target[..., 0].tolist()
    [[2, 8]]
    """
    import cv2

    height, width = source.shape[:2]
    for top in range(0, height, 2 * STRIP):
        strip = np.ascontiguousarray(source[top : top + 2 * STRIP])
        odd_rows, odd_columns = strip.shape[0] % 2, width % 2
        if odd_rows or odd_columns:
            strip = np.pad(strip, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")
        rows = strip.shape[0] // 2
        small = cv2.resize(strip, (target.shape[1], rows), interpolation=cv2.INTER_AREA)
        target[top // 2 : top // 2 + rows] = small.reshape(rows, target.shape[1], target.shape[2])


# -------------------------------------------------------------------- headers
def _header(path: str) -> _Header:
    with Path(path).open("rb") as file:
        head = file.read(4096)
        file.seek(0)
        kind = picture_kind(head)
        try:
            if kind is not None:
                return _picture_header(path, file, kind)
            if is_tiff(head):
                return _tiff_header(path, file)
        except DECODE_ERRORS as error:
            if isinstance(error, SlideError):
                raise
            raise CorruptSlideError(
                f"{path}: its {kind or 'TIFF'} header cannot be read: {error}", mend="copy the file anew"
            ) from error
    raise UnsupportedSlideError(
        f"{path} is no JPEG, PNG, WebP or TIFF", mend="`coverslip doctor` lists the formats"
    )


def _picture_header(path: str, file: IO[bytes], kind: str) -> _Header:
    """Read the header with Pillow's plug-ins themselves: `Image.open` refuses large pictures as bombs."""
    from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    plugin: Any = {
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
    }[kind]
    with plugin(file) as image:
        mode, doubts = image.mode, []
        orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
        if orientation not in TURNS:
            doubts.append(f"the EXIF orientation {orientation} is invalid; the picture is shown as stored")
            orientation = 1
        transparent = mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        form = _FORMS.get(mode)
        if form is None or (transparent and mode != "RGBA"):
            raise UnsupportedSlideError(
                f"{path} is a {kind.upper()} of mode {mode}{' with transparency' if transparent else ''}: "
                "expected RGB, RGBA or grey",
                mend="convert it to RGB, e.g. `magick in out.png`",
            )
        return _Header(
            f"{kind}+alpha" if transparent else kind,
            Size(*image.size),
            *form,
            orientation,
            image.info.get("icc_profile"),
            tuple(doubts),
        )


_FORMS = {
    "RGB": (3, "uint8"),
    "RGBX": (3, "uint8"),
    "RGBA": (3, "uint8"),
    "P": (3, "uint8"),
    "L": (1, "uint8"),
    "I;16": (1, "uint16"),
    "I;16B": (1, "uint16"),
}


def _tiff_header(path: str, file: IO[bytes]) -> _Header:
    import tifffile

    with tifffile.TiffFile(file) as tif:
        page = tif.pages.first
        samples, dtype = page.samplesperpixel, str(page.dtype)
        orientation = page.tags.valueof(274, 1)
        if page.photometric not in (1, 2, 6) or samples not in CHANNELS or dtype not in ("uint8", "uint16"):
            raise UnsupportedSlideError(
                f"{path} is a TIFF of {samples} samples of {dtype}: expected grey or RGB", mend="convert it"
            )
        if page.is_tiled:
            raise UnsupportedSlideError(
                f"{path} has tiles: it is no plain picture", mend="see the TIFF reader's words"
            )
        try:
            page.decode(None, 0)
        except (ValueError, NotImplementedError) as error:
            raise UnsupportedSlideError(
                f"{path} cannot be decoded here: {error}", mend="convert it"
            ) from error
        icc = page.iccprofile
        valid = int(orientation) if int(orientation) in TURNS else 1
        return _Header("tiff", Size(page.imagewidth, page.imagelength), samples, dtype, valid, icc)


# --------------------------------------------------------------------- pixels
def _decode(path: str, header: _Header, room: NDArray[Any]) -> None:
    """Decode the picture into `room`.

    Raises
    ------
    CorruptSlideError
        When its bytes cannot be decoded, or end early.
    """
    target = room if room.shape[2] > 1 else room[..., 0]
    try:
        if header.kind == "tiff":
            _decode_tiff(path, target)
        else:
            _decode_picture(path, header.kind.removesuffix("+alpha"), target)
    except DECODE_ERRORS as error:
        if isinstance(error, SlideError):
            raise
        raise CorruptSlideError(f"{path} cannot be decoded: {error}", mend="copy the file anew") from error


def _decode_tiff(path: str, target: NDArray[Any]) -> None:
    import tifffile

    with tifffile.TiffFile(path) as tif:
        pixels = tif.pages.first.asarray(maxworkers=1)
        target[...] = (
            np.moveaxis(pixels, 0, 2) if pixels.ndim == 3 and pixels.shape != target.shape else pixels
        )


def _decode_picture(path: str, kind: str, target: NDArray[Any]) -> None:
    import imagecodecs

    data = Path(path).read_bytes()
    if kind == "jpeg":
        if data.rfind(b"\xff\xd9") < 0:
            raise CorruptSlideError(f"{path} ends before the end of its picture", mend="copy the file anew")
        colours = "RGB" if target.ndim == 3 else "GRAYSCALE"
        imagecodecs.jpeg8_decode(data, outcolorspace=colours, out=target)
    elif kind == "png":
        imagecodecs.png_decode(data, out=target)
    else:
        imagecodecs.webp_decode(data, hasalpha=target.shape[2] == 4, out=target)
