"""Label images: TIFF written with its grid and classes, PNG and TIFF read."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations.annotations import Annotations, DrawnOn
from coverslip.annotations.colour import parse_colour
from coverslip.annotations.formats.source import Format, Source, Target, refuse_shapes
from coverslip.annotations.raster import IGNORE, rasterise
from coverslip.annotations.vector import vectorise
from coverslip.core import Size
from coverslip.core.errors import UsageError

HEADS = (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SKEW = 0.02
"""How much the scale of both directions may differ before a label image is one of another slide."""


def _probe(source: Source) -> bool:
    return source.data.startswith(HEADS)


def _read(source: Source) -> Annotations:
    pixels, said = _pixels(source)
    if pixels.ndim != 2 or pixels.dtype.kind not in "iub":
        raise source.damaged(
            f"{pixels.shape} of {pixels.dtype} is no label image: expected (h, w) of whole numbers"
        )
    classes = said.get("classes") or _numbered(pixels)
    origin = said.get("origin", (0, 0))
    downsample = said.get("downsample") or _downsample(source, Size(pixels.shape[1], pixels.shape[0]))
    drawn = (
        vectorise(pixels, downsample, classes=classes, origin=(origin[0], origin[1]))
        if classes
        else Annotations()
    )
    colours = {name: parse_colour(colour) for name, colour in said.get("colours", {}).items()}
    size = said.get("slide_size")
    known = DrawnOn(said.get("slide"), Size(*size) if size else None, said.get("digest"))
    return Annotations(drawn.shapes, {name: colours.get(name) for name in classes}, known)


def _pixels(source: Source) -> tuple[NDArray[Any], Mapping[str, Any]]:
    if source.data.startswith(HEADS[0]):
        import cv2

        image = cv2.imdecode(np.frombuffer(source.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise source.damaged("damaged PNG")
        return np.asarray(image), {}
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(source.data)) as file:
            page = file.pages.first
            text = page.tags.valueof("ImageDescription", "")
            return np.asarray(page.asarray()), _said(text)
    except (tifffile.TiffFileError, ValueError, IndexError) as error:
        raise source.damaged(f"damaged TIFF: {error}") from error


def _said(text: Any) -> Mapping[str, Any]:
    """Return what Coverslip wrote into the description; other programs' descriptions say nothing."""
    try:
        said = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return said if isinstance(said, dict) and said.get("type") == "coverslip labels" else {}


def _numbered(pixels: NDArray[Any]) -> dict[str, int]:
    """Name classes by their labels; 0 is what most programs leave where nothing is."""
    return {str(label): int(label) for label in np.unique(pixels) if label > 0 and label != IGNORE}


def _downsample(source: Source, size: Size) -> float:
    if source.slide is None:
        return 1.0
    slide = source.slide.size
    across, down = slide.width / size.width, slide.height / size.height
    if abs(across / down - 1) > SKEW:
        raise source.damaged(
            f"{size.width} × {size.height} labels do not fit the slide {source.slide.id} of "
            f"{slide.width} × {slide.height}: {across:g} pixels per label across and {down:g} down"
        )
    return math.sqrt(across * down)


def _write(drawn: Annotations, target: Target) -> bytes:
    import tifffile

    if target.grid is None:
        raise UsageError(
            "a label image needs its pixels: size, downsample and origin",
            mend="give them: grid=Grid.of_slide(slide, mpp=2.0)",
        )
    refuse_shapes(
        "a label image",
        (shape for shape in drawn.shapes if shape.class_name is None or not shape.polygons),
        "give every shape a class, and lines and points an area with widened()",
    )
    classes = {name: i for i, name in enumerate(drawn.classes, 1)}
    if not classes or len(classes) >= IGNORE:
        raise UsageError(f"{len(classes)} classes do not fit a label image: expected 1 to {IGNORE - 1}")
    pixels = rasterise(drawn, target.grid, classes=classes)
    known = DrawnOn.of(target.slide) if target.slide is not None else drawn.drawn_on
    said = {
        "type": "coverslip labels",
        "classes": classes,
        "colours": drawn.classes,
        "unlabelled": IGNORE,
        "downsample": target.grid.downsample,
        "origin": target.grid.origin,
        "slide": known.id,
        "slide_size": known.size,
        "digest": known.digest,
    }
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, compression="zlib", description=json.dumps(said), metadata=None)
    return file.getvalue()


FORMAT = Format("label-image", "label image (TIFF, PNG)", "areas, to the pixel", _probe, _read, _write)
