"""TIFF in all its kinds: Aperio SVS, OME-TIFF, QPTIFF, Philips, BigTIFF, tiled or stripped.

tifffile reads the structure once; pixels are then read by range and decoded by imagecodecs, from any number
of threads, without a lock.
"""

from __future__ import annotations

import logging
import math
import struct
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CorruptSlideError, UnsupportedSlideError, UsageError
from coverslip.slides.heads import is_tiff, tiff_kind
from coverslip.slides.orientation import TURNS, shown_size, stored_window, turned
from coverslip.slides.reader import BlockReader, Facts, levels_of
from coverslip.slides.source import ByteSource, open_bytes
from coverslip.slides.stored import StoredJpeg
from coverslip.slides.tiff_decode import PALETTE, RGB, YCBCR, check_page
from coverslip.slides.tiff_facts import VENDORS, Said, kind_of, said_by, scene_names
from coverslip.slides.tiff_layout import LevelLayout, planes_of

ORIENTATION = 274

OTHERS = {
    "scn": "a Leica SCN file",
    "bif": "a Ventana BIF file, whose tiles overlap",
    "trestle": "a Trestle file, whose tiles overlap",
    "vsi": "an Olympus VSI header; the pixels lie in .ets files beside it, in a format of Olympus's own",
}
"""TIFF files whose pages alone do not give the slide."""

STRUCTURE_ERRORS = (
    tifffile.TiffFileError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    struct.error,
)
"""What tifffile raises for directories that make no sense."""

SAME_SHAPE = 0.05
"""Levels' sides may differ by this share from those of the first, since sizes are rounded."""

ASSOCIATED = ("svs", "qpi", "ndpi", "philips", "scn", "bif")
"""Kinds whose further series are label, macro and the like; of other kinds they are scenes."""


class TiffReader(BlockReader):
    """Reads TIFF files with tifffile and imagecodecs.

    Parameters
    ----------
    source
        Bytes of the file; the reader closes it.
    tif
        The parsed structure; it is not used after construction.
    scene
        Which series to serve.
    """

    name: ClassVar[str] = "tiff"
    needs: ClassVar[str] = "tifffile, imagecodecs"
    formats: ClassVar[str] = (
        "Aperio SVS, OME-TIFF, QPTIFF, Philips TIFF, generic TIFF and BigTIFF (also remote)"
    )

    def __init__(self, source: ByteSource, tif: tifffile.TiffFile, scene: int) -> None:
        self._source = source
        series = _main_series(tif, source.path, scene)
        self._orientation, doubts = _orientation_of(series.keyframe)
        said = said_by(tif, kind_of(tif, series), scene)
        said.warnings += doubts
        multichannel = len(series.pages) > 1 or series.kind == "ome"
        self._levels = [
            _layout(source, level, index, palette=not multichannel)
            for index, level in enumerate(_levels_of(tif, series))
        ]
        self._others = _associated_of(source, tif, series)
        self.facts = _facts(tif, series, (said, self._levels, self._orientation), tuple(self._others))

    @classmethod
    def probe(cls, path: str, head: bytes) -> float:
        """Score: TIFF files are mine, except those whose pages alone do not give the slide."""
        if not is_tiff(head):
            return 0.0
        kind = tiff_kind(path, head)
        return {"ndpi": 0.8}.get(kind, 0.3 if kind in OTHERS else 0.9)

    @classmethod
    def open(cls, path: str, *, scene: int = 0) -> Self:
        """Open the file, see `Reader.open`."""
        source = open_bytes(path)
        try:
            head = source.read(0, 4096)
            _check_kind(path, head)
            _be_quiet()
            with source.stream() as stream:
                return cls._parse(source, stream, scene)
        except BaseException:
            source.close()
            raise

    @classmethod
    def _parse(cls, source: ByteSource, stream: Any, scene: int) -> Self:
        try:
            with tifffile.TiffFile(stream, name=Path(source.path).name) as tif:
                if not tif.pages or not tif.series:
                    raise CorruptSlideError(
                        f"{source.path} is a TIFF without a picture", mend="copy the file anew"
                    )
                return cls(source, tif, scene)
        except STRUCTURE_ERRORS as error:
            if isinstance(error, UsageError):
                raise
            raise CorruptSlideError(
                f"{source.path} is a TIFF whose structure cannot be read: {error}",
                mend="it may be truncated: copy the file anew",
            ) from error

    # ----------------------------------------------------------------- pixels
    def block_size(self, level: int) -> Size:
        """Return width and height of the level's blocks."""
        return shown_size(self._levels[level].block, self._orientation)

    def block(self, level: int, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode one block, see `Reader.block`."""
        if self._orientation == 1:
            return self._levels[level].read(column, row, out)
        size, whole = self.block_size(level), self.facts.levels[level]
        x, y = column * size.width, row * size.height
        return self.window(
            level, x, y, Size(min(size.width, whole.width - x), min(size.height, whole.height - y))
        )

    def stored(self, level: int, column: int, row: int) -> StoredJpeg | None:
        """Return where a block's JPEG stream lies, see `coverslip.slides.stored.StoresJpeg`."""
        return self._levels[level].stored(column, row) if self._orientation == 1 else None

    def window(self, level: int, x: int, y: int, size: Size) -> NDArray[Any]:
        """Read a rectangle of level pixels that lies wholly inside the level, as (h, w, c)."""
        if self._orientation == 1:
            return super().window(level, x, y, size)
        layout = self._levels[level]
        left, top, stored = stored_window(x, y, size, layout.size, self._orientation)
        return np.ascontiguousarray(turned(layout.window(left, top, stored), self._orientation))

    def associated(self, name: str) -> NDArray[np.uint8]:
        """Return an associated image as (h, w, 3)."""
        if name not in self._others:
            raise UsageError(
                f"there is no associated image {name!r}", mend=f"there are: {', '.join(self._others)}"
            )
        layout = self._others[name]
        pixels = layout.window(0, 0, layout.size)
        if pixels.dtype != np.uint8:
            pixels = (pixels / max(1, pixels.max()) * 255).astype(np.uint8)
        return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()


def _be_quiet() -> None:
    """Keep tifffile's log off stderr where nobody listens; what matters is in ``facts.warnings``."""
    logger = logging.getLogger("tifffile")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _check_kind(path: str, head: bytes) -> None:
    if not is_tiff(head):
        raise UnsupportedSlideError(f"{path} is no TIFF: it starts with {head[:4]!r}", mend="check the file")
    kind = tiff_kind(path, head)
    if kind in OTHERS:
        mend = (
            "convert it to OME-TIFF with QuPath or bfconvert"
            if kind == "vsi"
            else "reader='openslide' reads it"
        )
        raise UnsupportedSlideError(f"{path} is {OTHERS[kind]}", mend=mend)


def _main_series(tif: tifffile.TiffFile, path: str, scene: int) -> tifffile.TiffPageSeries:
    count = 1 if tif.series[0].kind in ASSOCIATED else len(tif.series)
    if not 0 <= scene < count:
        names = ", ".join(f"{i} ({name})" for i, name in enumerate(scene_names(tif, count)))
        raise UsageError(f"{path} has no scene {scene}", mend=f"its scenes are {names}")
    series = tif.series[scene]
    if math.prod(series.shape) == 0:
        raise CorruptSlideError(f"{path} states a picture of shape {series.shape}", mend="copy the file anew")
    return series


def _levels_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> list[tifffile.TiffPageSeries]:
    """Return the series of each level, finest first.

    Of an Aperio file every tiled page is a level that is smaller than the one before and of its shape, as for
    OpenSlide; tifffile takes the second page for a thumbnail even when it is tiled.
    """
    if series.kind != "svs":
        return list(series.levels)
    found = [series]
    for page in tif.pages[1:]:
        whole = page.aspage()
        width, height = found[-1].keyframe.imagewidth, found[-1].keyframe.imagelength
        shape = whole.imagewidth * height / (whole.imagelength * width)
        if whole.is_tiled and whole.imagewidth < width and abs(shape - 1) < SAME_SHAPE:
            found.append(tifffile.TiffPageSeries([whole], name="Level", kind="svs"))
    return found


def _orientation_of(page: tifffile.TiffPage) -> tuple[int, list[str]]:
    value = page.tags.valueof(ORIENTATION)
    if value is None:
        return 1, []
    if int(value) not in TURNS:
        return 1, [f"the TIFF orientation {int(value)} is invalid; the picture is shown as stored"]
    return int(value), []


def _layout(source: ByteSource, level: tifffile.TiffPageSeries, index: int, *, palette: bool) -> LevelLayout:
    """Return the planes of a level: all channels of the first plane of every other axis."""
    pages = _channel_pages(level)
    if any(page is None for page in pages):
        raise UnsupportedSlideError(
            f"{source.path}: pages of level {index} are missing",
            mend="are parts of a multi-file OME-TIFF beside it?",
        )
    check_page(pages[0].keyframe, source.path)
    if level.is_multifile:
        raise UnsupportedSlideError(
            f"{source.path} is one of several files of a multi-file OME-TIFF", mend="join them with bfconvert"
        )
    planes = [plane for page in pages for plane in planes_of(source, page, palette=palette)]
    return LevelLayout(tuple(planes))


def _channel_pages(level: tifffile.TiffPageSeries) -> list[Any]:
    inner = len(level.keyframe.shape)
    outer, axes = level.shape[:-inner], level.axes[:-inner]
    pages = list(level.pages)
    if len(pages) < math.prod(outer):
        raise UnsupportedSlideError(
            f"the file names {len(pages)} of {math.prod(outer)} planes of a series",
            mend="save it as OME-TIFF, with a directory per plane",
        )
    if not outer:
        return pages[:1]
    index = np.arange(math.prod(outer)).reshape(outer)
    first = index[tuple(slice(None) if axis == "C" else 0 for axis in axes)]
    return [pages[i] for i in np.atleast_1d(first).ravel()]


def _associated_of(
    source: ByteSource, tif: tifffile.TiffFile, main: tifffile.TiffPageSeries
) -> dict[str, LevelLayout]:
    if main.kind not in ASSOCIATED:
        return {}
    found: dict[str, LevelLayout] = {}
    for number, series in enumerate(tif.series[1:], start=1):
        if series.kind == "svs" and series.keyframe.is_tiled:
            continue  # a level, see `_levels_of`
        name = (series.name or f"image {number}").lower()
        try:
            found.setdefault(name, _layout(source, series, 0, palette=True))
        except UnsupportedSlideError:
            continue
    return found


def _facts(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    found: tuple[Said, list[LevelLayout], int],
    associated: tuple[str, ...],
) -> Facts:
    said, layouts, orientation = found
    sizes = [shown_size(layout.size, orientation) for layout in layouts]
    turn = TURNS[orientation].transpose
    count = 1 if series.kind in ASSOCIATED else len(tif.series)
    return Facts(
        levels=levels_of([(size.width, size.height) for size in sizes]),
        vendor=VENDORS.get(kind_of(tif, series), "generic-tiff"),
        mpp_x=said.mpp_y if turn else said.mpp_x,
        mpp_y=said.mpp_x if turn else said.mpp_y,
        mpp_origin=said.origin,
        objective_power=said.power,
        channels=_channels(series.keyframe, layouts[0], said),
        dtype=str(layouts[0].planes[0].dtype),
        icc=series.keyframe.iccprofile,
        associated=associated,
        scenes=scene_names(tif, count),
        properties=said.properties,
        warnings=(*said.warnings, *_left_out(series), *_scenes_note(count), *_missing(layouts)),
    )


def _channels(page: tifffile.TiffPage, layout: LevelLayout, said: Said) -> tuple[str, ...]:
    count = layout.samples
    colour = page.photometric in (RGB, YCBCR) or (
        page.photometric == PALETTE and count == 3 and page.samplesperpixel == 1
    )
    if colour and count == 3:
        return "R", "G", "B"
    if said.channels and len(said.channels) == count:
        return _distinct(said.channels)
    return ("grey",) if count == 1 else tuple(f"channel {index + 1}" for index in range(count))


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names))


def _left_out(series: tifffile.TiffPageSeries) -> list[str]:
    words = {"Z": "focal planes", "T": "time points", "I": "pages", "Q": "pages", "H": "phases"}
    counted = zip(series.axes, series.shape, strict=True)
    return [
        f"the first of {count} {words.get(axis, f'planes along {axis}')} is shown"
        for axis, count in counted
        if axis not in "YXSC" and count > 1
    ]


def _missing(layouts: list[LevelLayout]) -> list[str]:
    """Say what lies beyond the end of a truncated file."""
    found = []
    for index, layout in enumerate(layouts):
        missing = sum(plane.beyond_the_end() for plane in layout.planes)
        if missing:
            found.append(f"the file is truncated: {missing} pieces of level {index} lie beyond its end")
    return found


def _scenes_note(count: int) -> list[str]:
    return [f"the file holds {count} scenes: choose with scene=0 … {count - 1}"] if count > 1 else []
