"""Formats of annotation files: one module each, one row each in `FORMATS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coverslip.annotations.annotations import Annotations, DrawnOn
from coverslip.annotations.formats import (
    asap,
    camelyon,
    coco,
    cytomine,
    dsa,
    geojson,
    imagescope,
    labels,
    ndpa,
    table,
    voc,
)
from coverslip.annotations.formats.source import Format, Source, Target
from coverslip.annotations.raster import Grid
from coverslip.core import unknown
from coverslip.core.errors import GeometryError, UsageError

if TYPE_CHECKING:
    from coverslip.slides import Slide

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        geojson.FORMAT,
        asap.FORMAT,
        imagescope.FORMAT,
        ndpa.FORMAT,
        dsa.FORMAT,
        coco.FORMAT,
        voc.FORMAT,
        camelyon.FORMAT,
        cytomine.FORMAT,
        table.FORMAT,
        labels.FORMAT,
    )
}
"""Every format by name."""


def read(path: Path, name: str | None, slide: Slide | None) -> Annotations:
    """Read a file: see `Annotations.read`."""
    source = Source.load(path, slide)
    drawn = (_named(name) if name is not None else _recognised(source)).read(source)
    if drawn.drawn_on == DrawnOn() and slide is not None:
        # the file does not say; what the user says is kept, so that it is checked from now on
        return Annotations(drawn.shapes, drawn.classes, DrawnOn.of(slide), drawn.notes)
    return drawn


def encode(drawn: Annotations, name: str, slide: Slide | None, grid: Grid | None) -> bytes:
    """Return a file's content: see `Annotations.write`."""
    import shapely

    form = _named(name)
    if form.write is None:
        raise UsageError(f"{form.title} can be read, but not written", mend="write geojson")
    odd = [s.title for s in drawn.shapes if not np.isfinite(shapely.get_coordinates(s.geometry)).all()]
    if odd:
        raise GeometryError(
            f"vertices that are not finite cannot be written: {', '.join(odd)}",
            mend="leave these shapes out: annotations.checked(repair=True)",
        )
    return form.write(drawn, Target(slide, grid))


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise unknown("annotation format", name, FORMATS)
    return FORMATS[name]


def _recognised(source: Source) -> Format:
    for form in FORMATS.values():
        if form.probe(source):
            return form
    known = ", ".join(form.title for form in FORMATS.values())
    raise UsageError(
        f"{source.path} is no annotation file that is known: expected {known}",
        mend="export it as GeoJSON, or name its format: format='geojson'",
    )
