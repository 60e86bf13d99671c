"""Overlays that a reader switches on and off: outlines as paths, squares as palette images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.report.findings import Findings, cell_corners, flag_share, flags_of
from coverslip.report.numbers import counted, length, nice_step, number, percent
from coverslip.report.palette import CLASSES, POOR, TILES, TISSUE, class_colour, flag_colour, words
from coverslip.report.pictures import Picture, labels_png, paint_squares

TOLERANCE = 0.6
"""Outlines are simplified until they lie at most this many thumbnail pixels off."""

USABLE = 0.5
"""Tiles with a smaller share of usable tissue are shown as hardly usable."""

OVERLAY_GAP = 1.0
"""Thumbnail pixels left free between painted squares, so that single tiles can be told apart."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One overlay: a path or a picture in thumbnail pixels, its name, colour, and if it starts visible."""

    key: str
    label: str
    colour: str
    hint: str
    on: bool = False
    path: str | None = None
    picture: Picture | None = None
    inside: str | None = None
    """Key of the layer whose outline the picture is cut to."""


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A bar of a round length, in thumbnail pixels."""

    width: float
    text: str


def layers(findings: Findings) -> tuple[Layer, ...]:
    """Make the overlays that the findings allow, in the order of the switches; none without a thumbnail."""
    return tuple(_each(findings)) if findings.thumbnail is not None else ()


def scale_bar(findings: Findings) -> ScaleBar | None:
    """Choose a bar of about a fifth of the thumbnail's width; None without a scale."""
    if findings.thumbnail is None or findings.mpp is None:
        return None
    um_per_pixel = findings.mpp * findings.shrinkage
    um = nice_step(findings.thumbnail.shape[1] * um_per_pixel, 5)
    return ScaleBar(round(um / um_per_pixel, 2), length(um))


def _each(findings: Findings) -> Iterator[Layer]:
    if findings.tissue is not None:
        path = outline(findings.tissue.polygons, findings.shrinkage)
        yield Layer(
            "tissue", "Tissue", TISSUE, counted(len(findings.tissue.polygons), "piece"), on=True, path=path
        )
    if findings.quality is not None:
        yield from _flag_layers(findings)
    if findings.tiles is not None and len(findings.tiles):
        yield _tiles_layer(findings)
    if findings.classes is not None and len(findings.classes):
        yield _lookalike_layer(findings, findings.classes)


def _flag_layers(findings: Findings) -> Iterator[Layer]:
    quality = findings.quality
    assert quality is not None  # noqa: S101 - `_each` looked
    corners, side, shape = cell_corners(quality), quality.side_px, _shape(findings)
    for flag, raised in flags_of(quality).items():
        if not raised.any():
            continue
        xy = corners[raised] / findings.shrinkage
        image = paint_squares(shape, xy, np.zeros(len(xy), np.uint8), side=side / findings.shrinkage)
        name = words(flag).capitalize()
        picture = labels_png(image, [flag_colour(flag)], f"Where {words(flag)} was found")
        hint = percent(flag_share(quality, flag))
        cut = "tissue" if findings.tissue is not None else None
        yield Layer(f"flag-{flag}", name, flag_colour(flag), hint, on=True, picture=picture, inside=cut)


def _tiles_layer(findings: Findings) -> Layer:
    """Show the tiles; in two colours when it is known which are usable."""
    tiles = findings.tiles
    usable = getattr(tiles, "quality", {}).get("usable")
    poor = np.zeros(len(tiles), bool) if usable is None else np.asarray(usable) < USABLE
    picture = _tile_picture(findings, poor.astype(np.uint8), [TILES, POOR], "Tiles")
    hint = number(len(tiles)) + (f", {number(int(poor.sum()))} hardly usable" if poor.any() else "")
    colour = f"linear-gradient(90deg,{TILES} 0% 50%,{POOR} 50% 100%)" if poor.any() else TILES
    return Layer("tiles", "Tiles", colour, hint, picture=picture)


def _lookalike_layer(findings: Findings, labels: NDArray[np.int64]) -> Layer:
    colours = [class_colour(index) for index in range(len(CLASSES))]
    values = np.where(labels < 0, 255, labels % len(CLASSES)).astype(np.uint8)
    picture = _tile_picture(findings, values, colours, "Look-alike classes of tiles")
    found = np.unique(labels[labels >= 0]).tolist()
    hint = counted(len(found), "class", "classes")
    return Layer("lookalike", "Look-alike map", swatch(found), hint, picture=picture)


def swatch(classes: list[int]) -> str:
    """Return stripes of the colours of classes, as CSS.

    Examples
    --------
    >>> swatch([0, 1])
    'linear-gradient(90deg,#0077bb 0% 50%,#ee7733 50% 100%)'
    """
    wide = 100 / max(1, len(classes))
    stripes = (f"{class_colour(c)} {i * wide:.4g}% {(i + 1) * wide:.4g}%" for i, c in enumerate(classes))
    return f"linear-gradient(90deg,{','.join(stripes)})"


def _tile_picture(findings: Findings, values: NDArray[np.uint8], colours: list[str], alt: str) -> Picture:
    tiles, shrinkage = findings.tiles, findings.shrinkage
    xy = np.asarray(tiles.xy, np.float64) / shrinkage
    gap = OVERLAY_GAP if tiles.side_px / shrinkage >= 4 else 0.0
    side = tiles.side_px / shrinkage
    return labels_png(paint_squares(_shape(findings), xy, values, side=side, gap=gap), colours, alt)


def _shape(findings: Findings) -> tuple[int, int]:
    assert findings.thumbnail is not None  # noqa: S101 - `layers` looked
    return findings.thumbnail.shape[0], findings.thumbnail.shape[1]


def outline(polygons: Any, shrinkage: float) -> str:
    """Write polygons (level-0 pixels, with holes) as one SVG path in thumbnail pixels.

    Examples
    --------
    >>> from shapely import box
    >>> outline([box(0, 0, 80, 40)], 4)
    'M20 0L20 10L0 10L0 0Z'
    """
    rings = []
    for polygon in polygons:
        simple = polygon.simplify(TOLERANCE * shrinkage)
        for part in getattr(simple, "geoms", [simple]):
            rings += [_ring(part.exterior, shrinkage), *(_ring(hole, shrinkage) for hole in part.interiors)]
    return "".join(rings)


def _ring(ring: Any, shrinkage: float) -> str:
    points = np.round(np.asarray(ring.coords)[:-1, :2] / shrinkage, 1)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z" if len(points) else ""
