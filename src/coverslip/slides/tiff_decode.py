"""Segments of a TIFF page (tiles or strips) turned into pixels: no GIL, no lock, no shared state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from coverslip.core.errors import CorruptSlideError, CorruptTileError, UnsupportedSlideError
from coverslip.slides.codestream import chroma_is_coarse, picture_size, rgb_of_ycbcr
from coverslip.slides.reader import pixel_buffer
from coverslip.slides.stored import ADOBE_RGB

Decode = Callable[[bytes, int, NDArray[Any] | None], NDArray[Any]]
"""(bytes, segment index, buffer or None) → array (h, w, samples)."""

Convert = Callable[[NDArray[Any]], NDArray[Any]]

MAX_SEGMENT = 256 << 20
"""No tile or strip may decode to more bytes than this; a larger one is a mistake or an attack."""

JPEG = (6, 7, 33007, 34892)

APERIO_YCBCR = 33003
"""JPEG 2000 of YCbCr components that the stream does not declare as such."""

SIZED = (7, 33003, 33004, 33005, 34712, 34892)
"""JPEG and JPEG 2000: the stream states its own size, which must not exceed the segment's."""

GREY, RGB, PALETTE, YCBCR, WHITE_IS_ZERO = 1, 2, 3, 6, 0

PREMULTIPLIED, TRANSPARENCY = 1, 2
"""Kinds of extra sample."""

REFUSED = {
    5: "CMYK",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "a colour filter array",
    4: "a mask",
}

DECODE_ERRORS = (ValueError, RuntimeError, TypeError, IndexError, EOFError)
"""What tifffile and the codecs raise for bytes that they cannot decode."""


def segment_shape(page: tifffile.TiffPage) -> tuple[int, int, int]:
    """Return height, width and samples of the page's tiles or strips."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    if page.is_tiled:
        return page.tilelength, page.tilewidth, samples
    return min(page.rowsperstrip, page.imagelength), page.imagewidth, samples


def check_page(page: tifffile.TiffPage, path: str) -> None:
    """Refuse what cannot or must not be decoded, before anything is allocated.

    Raises
    ------
    UnsupportedSlideError
        For colour models, codecs and strips that this reader does not serve.
    CorruptSlideError
        For tiles of absurd size.
    """
    photometric = int(page.photometric) if page.photometric is not None else GREY
    if photometric in REFUSED:
        raise UnsupportedSlideError(
            f"{path} is stored as {REFUSED[photometric]}, not as RGB, grey or channels",
            mend="convert it to RGB, e.g. with QuPath or libvips",
        )
    if (
        page.imagedepth > 1
        or page.dtype is None
        or (page.dtype.kind not in "uif" and page.bitspersample != 1)
    ):
        raise UnsupportedSlideError(
            f"{path} has pixels of {page.bitspersample} bits, sample format {page.sampleformat}, depth "
            f"{page.imagedepth}: expected flat integer or real pixels",
            mend="convert it to 8 or 16 bits, e.g. with bfconvert",
        )
    _check_size(page, path)
    try:
        page.decode(None, 0)
    except (ValueError, NotImplementedError, tifffile.TiffFileError) as error:
        raise UnsupportedSlideError(
            f"{path} has pixels that cannot be decoded here: {error} (compression {int(page.compression)})",
            mend="convert it to a JPEG or deflate TIFF, e.g. with bfconvert",
        ) from error


def _check_size(page: tifffile.TiffPage, path: str) -> None:
    height, width, samples = segment_shape(page)
    if min(height, width, page.imagewidth, page.imagelength) < 1:
        raise CorruptSlideError(
            f"{path} states a picture of {page.imagewidth} × {page.imagelength} in tiles of "
            f"{width} × {height}",
            mend="copy the file anew",
        )
    needed = height * width * samples * (page.dtype.itemsize if page.dtype else 1)
    if needed <= MAX_SEGMENT or is_raw_rows(page):
        return
    text = f"{width} × {height} px would take {needed / 2**20:,.0f} MiB; the limit is {MAX_SEGMENT >> 20} MiB"
    if page.is_tiled:
        raise CorruptSlideError(f"{path}: one tile of {text}", mend="the file is damaged: copy it anew")
    raise UnsupportedSlideError(f"{path}: one strip of {text}", mend="convert it to a tiled TIFF")


def is_raw_rows(page: tifffile.TiffPage) -> bool:
    """Say whether the rows of a stripped page lie uncompressed in the file, to be read in any number."""
    return (
        not page.is_tiled
        and page.compression == 1
        and page.predictor == 1
        and page.fillorder == 1
        and page.bitspersample in (8, 16, 32, 64)
        and not page.is_subsampled
    )


def decoder(page: tifffile.TiffPage) -> Decode:
    """Return the function that decodes the page's segments; the fastest for its codec."""
    if int(page.compression) == 7 and page.bitspersample == 8 and page.jpegheader is None:
        return _jpeg(page)
    return _any(page)


def _jpeg(page: tifffile.TiffPage) -> Decode:
    """Decode with libjpeg-turbo straight into a buffer."""
    tables = page.jpegtables
    colourspace, out_colourspace = _jpeg_colours(page)
    height, width, samples = segment_shape(page)
    rows, tiled = page.imagelength, page.is_tiled
    strips = -(-rows // height)
    decode = imagecodecs.jpeg8_decode
    fallback = _any(page)

    def run(data: bytes, index: int, out: NDArray[Any] | None) -> NDArray[Any]:
        tall = height if tiled else min(height, rows - index % strips * height)
        shape = (tall, width, samples)
        if out is None or out.shape != shape or not out.flags.c_contiguous:
            out = pixel_buffer(*shape)
        target = out if samples > 1 else out[..., 0]
        try:
            decode(data, tables=tables, colorspace=colourspace, outcolorspace=out_colourspace, out=target)
        except ValueError:
            _check_jpeg_size(data, height, width)  # a last tile may be stored cut
            return fallback(data, index, None)
        return out

    return run


def _check_jpeg_size(data: bytes, height: int, width: int) -> None:
    """Refuse a JPEG stream that is larger than its tile, before it is decoded."""
    found = picture_size(data)
    if found is None or found[0] > height or found[1] > width:
        raise CorruptTileError(f"it holds a JPEG of {found} rows and columns, not up to {(height, width)}")


def _jpeg_colours(page: tifffile.TiffPage) -> tuple[int | None, int | None]:
    """Return the colour spaces of the stream and of the result.

    TIFF's photometric tag rules, but a JFIF marker says YCbCr whatever the tag says (as libtiff and
    OpenSlide do); Aperio stores RGB without a marker, which a JPEG library would take for YCbCr.
    """
    if page.planarconfig != 1 or page.samplesperpixel == 1:
        return None, GREY
    if page.photometric == YCBCR:
        return None, RGB
    return (None if page.is_jfif else RGB), RGB


def jpeg_head(page: tifffile.TiffPage) -> bytes | None:
    """Return the markers that make the page's tiles JPEG streams of their own: shared tables, colour space.

    None where no such markers would do: tiles that are not 8-bit JPEG of three samples per pixel.
    """
    plain = int(page.compression) == 7 and page.bitspersample == 8 and page.jpegheader is None
    if not plain or page.samplesperpixel != 3 or page.planarconfig != 1:
        return None
    tables = page.jpegtables
    shared = b"" if tables is None else tables[2:-2]  # without the markers of start and end
    return shared if _jpeg_colours(page)[0] is None else ADOBE_RGB + shared


def _any(page: tifffile.TiffPage) -> Decode:
    """Decode with whatever codec tifffile has for the page."""
    decode, tables, header = page.decode, page.jpegtables, page.jpegheader
    height, width, _ = segment_shape(page)
    sized = int(page.compression) in SIZED and header is None
    ycbcr = int(page.compression) == APERIO_YCBCR and page.samplesperpixel == 3

    def run(data: bytes, index: int, out: NDArray[Any] | None) -> NDArray[Any]:  # noqa: ARG001 - same shape as _jpeg
        if sized and ((found := picture_size(data)) is None or found[0] > height or found[1] > width):
            raise CorruptTileError(
                f"it holds a picture of {found} rows and columns, not up to {(height, width)}"
            )
        pixels, _, _ = decode(data, index, jpegtables=tables, jpegheader=header)
        if pixels is None:
            raise CorruptTileError("it is empty")
        if ycbcr and not chroma_is_coarse(data):  # the codec turns only streams with coarse chroma into RGB
            return rgb_of_ycbcr(pixels[0])
        return np.asarray(pixels[0])

    return run


def converter(page: tifffile.TiffPage, *, palette: bool) -> Convert | None:
    """Return what turns stored samples into shown ones, or None when they are the same.

    Palettes become RGB where `palette`, white-is-zero becomes black-is-zero, single bits 0 and 255, and
    transparency is laid on white.
    """
    if page.photometric == PALETTE and palette and page.colormap is not None:
        table = np.ascontiguousarray((page.colormap.T >> 8).astype(np.uint8))
        return lambda pixels: table[np.minimum(pixels[..., 0], len(table) - 1)]
    if page.photometric in (RGB, YCBCR) and page.samplesperpixel > 3 and page.planarconfig == 1:
        return _without_alpha(page)
    return _grey(page)


def _grey(page: tifffile.TiffPage) -> Convert | None:
    inverted = page.photometric == WHITE_IS_ZERO
    if page.bitspersample == 1:
        clear, set_ = (255, 0) if inverted else (0, 255)
        return lambda pixels: np.where(pixels, set_, clear).astype(np.uint8)
    if not inverted or page.dtype is None or page.dtype.kind != "u":
        return None
    top = page.dtype.type((1 << page.bitspersample) - 1)
    return lambda pixels: np.asarray(top - pixels)


def _without_alpha(page: tifffile.TiffPage) -> Convert:
    kind = int(page.extrasamples[0]) if page.extrasamples else 0
    if kind in (PREMULTIPLIED, TRANSPARENCY) and page.dtype == np.uint8:
        return lambda pixels: on_white(pixels, premultiplied=kind == PREMULTIPLIED)
    return lambda pixels: pixels[..., :3]


def on_white(pixels: NDArray[np.uint8], *, premultiplied: bool) -> NDArray[np.uint8]:
    """Lay pixels with transparency (h, w, 4) on white.

    Examples
    --------
    >>> on_white(np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8), premultiplied=False).tolist()
    [[[255, 255, 255], [10, 20, 30]]]
    """
    alpha = pixels[..., 3:4].astype(np.uint16)
    colour = pixels[..., :3].astype(np.uint16)
    if not premultiplied:
        colour = (colour * alpha + 127) // 255
    mixed: NDArray[np.uint8] = np.minimum(colour + (255 - alpha), 255).astype(np.uint8)
    return mixed
