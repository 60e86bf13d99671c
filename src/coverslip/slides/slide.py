"""A slide: facts and pixels; never results."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, Mpp, Region, Size, unknown
from coverslip.core.errors import CorruptTileError, MissingMppError, StainError, UsageError
from coverslip.slides.colour import ColourTransform, composite
from coverslip.slides.digest import digest_of
from coverslip.slides.pixels import best_level, read_box
from coverslip.slides.reader import Facts, Level, Reader
from coverslip.slides.scale import Scale, settle
from coverslip.slides.source import is_url

RGB = ("R", "G", "B")
WHITE = 255


def slide_id(path: str) -> str:
    """Return the name under which results of a slide are kept: the file's name without its ending.

    Examples
    --------
    >>> slide_id("/data/case.1/A-01.svs"), slide_id("https://host/B.tiff?version=2")
    ('A-01', 'B')
    """
    parts = urlsplit(path)
    name = (parts.path.strip("/") or parts.netloc) if is_url(path) else path
    return Path(name).stem or path


class Slide:
    """A whole-slide image, opened.

    Made by `open_slide`. Safe to read from several threads.

    Parameters
    ----------
    path
        As the user gave it.
    reader
        An open reader; the slide closes it.
    mpp
        Microns per pixel of level 0 as the user states it, over the file's.
    notes
        What better readers said when they refused the file; part of `warnings`.

    Examples
    --------
    >>> import tempfile, pathlib, imagecodecs
    >>> from coverslip import Box, Region, open_slide
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "white.png"
    ...     _ = path.write_bytes(imagecodecs.png_encode(np.full((600, 800, 3), 255, np.uint8)))
    ...     with open_slide(path, mpp=0.5) as slide:
    ...         slide.read(Region(Box(0, 0, 512, 512), mpp=1.0)).shape
    (256, 256, 3)
    """

    def __init__(
        self, path: str, reader: Reader, *, mpp: float | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        self.path = path
        self.id = slide_id(path)
        self._reader = reader
        self._notes = notes
        self._scale: Scale = settle(reader.facts, mpp)

    # ------------------------------------------------------------------ facts
    @property
    def facts(self) -> Facts:
        """What the file itself says."""
        return self._reader.facts

    @property
    def reader(self) -> Reader:
        """The reader underneath, for `coverslip.tiles.stream`."""
        return self._reader

    @property
    def size(self) -> Size:
        """Width and height of level 0."""
        return Size(self.levels[0].width, self.levels[0].height)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid, finest first."""
        return self.facts.levels

    @property
    def mpp(self) -> Mpp | None:
        """Microns per pixel of level 0 (mean of both directions), or None when nobody states it."""
        return self._scale.mpp

    @property
    def scale(self) -> Scale:
        """Microns per pixel in both directions, and who states them."""
        return self._scale

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd with the file or its scale, as sentences."""
        return self._notes + self.facts.warnings + self._scale.warnings

    @cached_property
    def digest(self) -> str:
        """A digest of the content, see `coverslip.slides.digest`."""
        return digest_of(self.path)

    @property
    def colour(self) -> bool:
        """True when the pixels are 8-bit red, green and blue."""
        return self.facts.channels == RGB and self.facts.dtype == "uint8"

    def require_mpp(self) -> Mpp:
        """Return the mpp.

        Raises
        ------
        MissingMppError
            When neither file nor user states one.
        """
        if self.mpp is None:
            raise MissingMppError(
                f"{self.path} states no microns per pixel, which is needed here",
                mend="give it with --mpp 0.5 (mpp=0.5 in Python), or for many slides --mpp-csv FILE",
            )
        return self.mpp

    def require_colour(self) -> None:
        """Refuse slides whose pixels are not 8-bit colour.

        Raises
        ------
        StainError
            For 16-bit and multichannel slides.
        """
        if not self.colour:
            raise StainError(
                f"{self.path} has {len(self.facts.channels)} channel(s) of {self.facts.dtype} "
                f"({', '.join(self.facts.channels)}); brightfield stages need 8-bit RGB",
                mend="read its channels with Slide.read_channels, or leave this slide out",
            )

    def info(self) -> dict[str, Any]:
        """Return what ``coverslip info --json`` prints."""
        facts, scale = self.facts, self._scale
        return {
            "path": self.path,
            "id": self.id,
            "reader": self._reader.name,
            "vendor": facts.vendor,
            "width": self.size.width,
            "height": self.size.height,
            "mpp_x": scale.mpp_x,
            "mpp_y": scale.mpp_y,
            "mpp_source": scale.source,
            "mpp_origin": facts.mpp_origin if scale.source == "file" else None,
            "objective_power": facts.objective_power,
            "levels": [
                {"width": v.width, "height": v.height, "downsample": v.downsample} for v in self.levels
            ],
            "associated": list(facts.associated),
            "channels": list(facts.channels),
            "dtype": facts.dtype,
            "icc": None if facts.icc is None else {"bytes": len(facts.icc)},
            "scenes": list(facts.scenes),
            "digest": self.digest,
            "properties": dict(facts.properties),
            "warnings": list(self.warnings),
        }

    # ----------------------------------------------------------------- pixels
    def best_level(self, downsample: float) -> Level:
        """Return the coarsest level that is at least as fine as `downsample`, so that nothing is enlarged."""
        return best_level(self.levels, downsample)

    def read(self, region: Region, *, icc: bool = False) -> NDArray[np.uint8]:
        """Read a region.

        Output pixel ``(i, j)`` is the mean of the level-0 area it covers, taken from the coarsest level
        that is fine enough; at a level's own mpp pixels come as stored. Outside the slide is white.

        Parameters
        ----------
        region
            Box in level-0 pixels, and the mpp wanted.
        icc
            Apply the file's ICC profile, giving sRGB.

        Returns
        -------
        Array (h, w, 3) uint8 with ``h = round(box.height · slide mpp / region mpp)``. Slides that are not
        8-bit colour give a display composite.

        Raises
        ------
        MissingMppError
            When the slide has no mpp.
        CorruptTileError
            When pixels of the region cannot be decoded.
        """
        return self.read_at(region.box, region.mpp / self.require_mpp(), icc=icc)

    def read_at(self, box: Box, downsample: float, *, icc: bool = False) -> NDArray[np.uint8]:
        """Read a box at level-0 pixels per output pixel: `read` for slides without a scale."""
        return self._shown(self._pixels(box, downsample), icc=icc)

    def read_channels(self, region: Region, channels: tuple[str, ...] | None = None) -> NDArray[Any]:
        """Read chosen channels (all by default) in the file's own dtype, as (h, w, c)."""
        names = self.facts.channels
        for name in channels or ():
            if name not in names:
                raise unknown("channel", name, names)
        pixels = self._pixels(region.box, region.mpp / self.require_mpp())
        return pixels if channels is None else pixels[..., [names.index(name) for name in channels]]

    def thumbnail(self, max_size: int = 1024, *, icc: bool = False) -> NDArray[np.uint8]:
        """Return the whole slide with its longer side `max_size` pixels or less, as (h, w, 3).

        What cannot be decoded is white (black for slides that are not 8-bit colour): one corrupt tile does
        not hide the slide.
        """
        if max_size < 1:
            raise UsageError(f"max_size {max_size} is no size: expected 1 or more", mend="give 1 or more")
        width, height = self.size
        downsample = max(1.0, max(width, height) / max_size)
        return self._shown(
            read_box(self._reader, Box(0, 0, width, height), downsample, fill=self._fill, tolerant=True),
            icc=icc,
        )

    @property
    def associated(self) -> Mapping[str, NDArray[np.uint8]]:
        """Label, macro and other images by name; each is read when asked for."""
        return _Associated(self._reader)

    @property
    def _fill(self) -> int:
        return WHITE if self.colour else 0

    def _pixels(self, box: Box, downsample: float) -> NDArray[Any]:
        try:
            return read_box(self._reader, box, downsample, fill=self._fill)
        except CorruptTileError as error:
            raise CorruptTileError(
                f"{self.path}: pixels of {box} cannot be decoded: {error.message}",
                mend="leave these tiles out (a run marks them as missing), or copy the slide anew",
            ) from error

    def _shown(self, pixels: NDArray[Any], *, icc: bool) -> NDArray[np.uint8]:
        rgb: NDArray[np.uint8] = pixels if self.colour else composite(pixels, self.facts, self._display_range)
        return self._colour_transform.apply(rgb) if icc else rgb

    # ----------------------------------------------------------------- colour
    @cached_property
    def _colour_transform(self) -> ColourTransform:
        return ColourTransform.from_profile(self.facts.icc, self.path)

    @cached_property
    def _display_range(self) -> NDArray[np.float32]:
        """Per channel the values shown as black and full colour: 0.1 and 99.9 % of the coarsest level."""
        coarsest = self.levels[-1]
        step = max(1.0, max(coarsest.width, coarsest.height) / 1024) * coarsest.downsample
        pixels = read_box(self._reader, Box(0, 0, *self.size), step, fill=self._fill, tolerant=True)
        limits: NDArray[Any] = np.percentile(pixels.reshape(-1, pixels.shape[2]), (0.1, 99.9), axis=0)
        return limits.T.astype(np.float32)

    # ------------------------------------------------------------------ life
    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        scale = "no mpp" if self.mpp is None else f"mpp {self.mpp:g}"
        return f"<Slide {self.id}: {self.size.width} × {self.size.height}, {scale}, {self.facts.vendor}>"

    def _repr_html_(self) -> str:
        from coverslip.slides.show import slide_html

        return slide_html(self)


class _Associated(Mapping[str, NDArray[np.uint8]]):
    """Associated images, read on demand."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        if name not in self._reader.facts.associated:
            raise KeyError(name)
        return self._reader.associated(name)

    def __iter__(self) -> Any:
        return iter(self._reader.facts.associated)

    def __len__(self) -> int:
        return len(self._reader.facts.associated)
