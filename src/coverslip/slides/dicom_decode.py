"""Frames of DICOM pixel data turned into pixels: a pure function of bytes and format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import CorruptTileError, UnsupportedSlideError
from coverslip.slides.codestream import picture_size, rgb_of_ycbcr
from coverslip.slides.reader import pixel_buffer

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"

DECODE_ERRORS = (ValueError, RuntimeError, TypeError, IndexError, EOFError)


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """How the frames of an instance are stored.

    Attributes
    ----------
    syntax
        UID of the transfer syntax.
    photometric
        ``RGB``, ``YBR_FULL_422``, ``YBR_ICT``, ``MONOCHROME2``, …
    stored
        Bits used of each sample, up to those of `dtype`.
    planar
        Whether uncompressed samples lie plane by plane.
    """

    syntax: str
    photometric: str
    rows: int
    columns: int
    samples: int
    dtype: np.dtype[Any]
    stored: int
    planar: bool = False


def decode_frame(data: bytes, form: FrameFormat, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Decode a frame.

    Parameters
    ----------
    out
        A buffer (rows, columns, samples) that may be used.

    Returns
    -------
    Array (rows, columns, samples): red, green, blue, or grey with zero black.

    Raises
    ------
    CorruptTileError
        When the bytes cannot be decoded.
    """
    codec = codec_of(form)
    if codec is not _raw and codec is not _rle:
        found = picture_size(data)
        if found != (form.rows, form.columns):
            raise CorruptTileError(f"a frame holds {found} rows and columns, not {(form.rows, form.columns)}")
    try:
        pixels = codec(data, form, out).reshape(form.rows, form.columns, form.samples)
    except DECODE_ERRORS as error:
        raise CorruptTileError(f"a frame cannot be decoded: {error}") from error
    if form.photometric == "MONOCHROME1":
        return ((1 << form.stored) - 1 - pixels).astype(form.dtype)
    return pixels


Codec = Callable[[bytes, FrameFormat, NDArray[Any] | None], NDArray[Any]]


def codec_of(form: FrameFormat) -> Codec:
    """Return the function that decodes the format.

    Raises
    ------
    UnsupportedSlideError
        When there is none.
    """
    codec = _CODECS.get(form.syntax)
    if codec is None:
        raise UnsupportedSlideError(
            f"pixels in DICOM transfer syntax {form.syntax} are not decoded here",
            mend="convert them, e.g. with `dcmconv` or `wsidicomizer`",
        )
    if form.photometric not in _PHOTOMETRIC:
        raise UnsupportedSlideError(
            f"pixels are {form.photometric}: expected {', '.join(sorted(_PHOTOMETRIC))}",
            mend="convert them to RGB",
        )
    return codec


def _jpeg8(data: bytes, form: FrameFormat, out: NDArray[Any] | None) -> NDArray[Any]:
    import imagecodecs

    if form.dtype.itemsize > 1:
        return np.asarray(imagecodecs.jpeg_decode(data, bitspersample=12))
    shape = (form.rows, form.columns, form.samples)
    if out is None or out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        out = pixel_buffer(*shape)
    colour = form.samples == 3
    stored = "RGB" if form.photometric == "RGB" and not says_ycbcr(data) else None
    imagecodecs.jpeg8_decode(
        data, colorspace=stored if colour else None, outcolorspace="RGB" if colour else "GRAYSCALE",
        out=out if colour else out[..., 0],
    )  # fmt: skip
    return out


def says_ycbcr(data: bytes) -> bool:
    """Say whether the stream's own marker says YCbCr, which then holds over the header's RGB."""
    return data[6:10] == b"JFIF" or _adobe_transform(data) == 1


def _adobe_transform(data: bytes) -> int | None:
    place = data.find(b"\xff\xee\x00\x0eAdobe", 0, 1024)
    return data[place + 15] if place >= 0 and place + 15 < len(data) else None


def _lossless(data: bytes, form: FrameFormat, out: NDArray[Any] | None) -> NDArray[Any]:  # noqa: ARG001
    import imagecodecs

    return _rgb(np.asarray(imagecodecs.jpegsof3_decode(data)), form)


def _jpegls(data: bytes, form: FrameFormat, out: NDArray[Any] | None) -> NDArray[Any]:  # noqa: ARG001
    import imagecodecs

    return _rgb(np.asarray(imagecodecs.jpegls_decode(data)), form)


def _jpeg2000(data: bytes, form: FrameFormat, out: NDArray[Any] | None) -> NDArray[Any]:  # noqa: ARG001
    import imagecodecs

    return _rgb(np.asarray(imagecodecs.jpeg2k_decode(data)), form)


def _rle(data: bytes, form: FrameFormat, out: NDArray[Any] | None) -> NDArray[Any]:  # noqa: ARG001
    import imagecodecs

    size = form.rows * form.columns * form.samples * form.dtype.itemsize
    raw = imagecodecs.dicomrle_decode(data, form.dtype.newbyteorder("<"), out=size)
    planes = np.frombuffer(raw, form.dtype.newbyteorder("<")).reshape(form.samples, form.rows, form.columns)
    return _rgb(np.moveaxis(planes, 0, 2).astype(form.dtype), form)


def _raw(data: bytes, form: FrameFormat, out: NDArray[Any] | None) -> NDArray[Any]:  # noqa: ARG001
    stored = form.dtype.newbyteorder(">" if form.syntax == BIG else "<")
    count = form.rows * form.columns * form.samples
    flat = np.frombuffer(data, stored, count=count).astype(form.dtype)
    if form.planar and form.samples > 1:
        flat = np.moveaxis(flat.reshape(form.samples, form.rows, form.columns), 0, 2)
    return _rgb(flat.reshape(form.rows, form.columns, form.samples), form)


def _rgb(pixels: NDArray[Any], form: FrameFormat) -> NDArray[Any]:
    """Turn YCbCr into RGB (ITU-T T.871) where the codec has not."""
    if form.photometric != "YBR_FULL" or form.samples != 3:
        return pixels
    return rgb_of_ycbcr(pixels.reshape(form.rows, form.columns, 3))


_CODECS: dict[str, Codec] = {
    **dict.fromkeys((IMPLICIT, EXPLICIT, BIG), _raw),
    **dict.fromkeys((f"{JPEG}50", f"{JPEG}51"), _jpeg8),
    **dict.fromkeys((f"{JPEG}57", f"{JPEG}70"), _lossless),
    **dict.fromkeys((f"{JPEG}80", f"{JPEG}81"), _jpegls),
    **dict.fromkeys((f"{JPEG}90", f"{JPEG}91", f"{JPEG}201", f"{JPEG}202", f"{JPEG}203"), _jpeg2000),
    RLE: _rle,
}

_PHOTOMETRIC = frozenset(
    ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "MONOCHROME1", "MONOCHROME2"]
)
