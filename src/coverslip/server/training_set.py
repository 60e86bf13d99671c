"""What people drew and corrected in the viewer, as tables that ``coverslip train`` takes.

Three tables, for three kinds of learning, each only where there is something for it:

``tiles.csv``
    Tiles whose class a person confirmed or corrected, cut as pictures; `source` is the slide, so that tiles
    of one slide never straddle a split. For ``task: classify``, ``method: tiles``.
``regions.csv``
    Slides with the regions that were drawn, accepted, relabelled or reshaped, a GeoJSON file each. For
    ``task: segment``. What a person rejected is left out: nobody said what it is.
``objects.csv``
    The areas that were drawn with the class ``reviewed``, cut as pictures, with all objects in them: the
    model's, less those rejected, as corrected, and those drawn. For ``task: detect``, which takes what is not
    drawn for background, so that only areas that were looked at as a whole may teach it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coverslip.annotations import Annotations, Shape
from coverslip.core import Box, atomic
from coverslip.core.errors import UsageError
from coverslip.server.db.drawings import Drawings, Drawn, as_annotations
from coverslip.server.library import Library
from coverslip.server.overlays.gather import Overlays
from coverslip.server.overlays.objects import ObjectIndex
from coverslip.slides import Slide

REVIEWED = "reviewed"
"""Class of an area in which every object was looked at."""

LARGEST = 8192
"""Level-0 pixels along the side of a reviewed area, at most."""

Row = dict[str, Any]


@dataclass
class TrainingSet:
    """Tables of what was learned from people, written as it is gathered.

    Parameters
    ----------
    library, drawings
        The slides and what was drawn on them.
    folder
        Where it goes; new or empty.
    objects
        Which objects were reviewed, where a run has several; None takes the only ones.

    Raises
    ------
    UsageError
        When the folder holds something.
    """

    library: Library
    drawings: Drawings
    folder: Path
    objects: str | None = None
    rows: dict[str, list[Row]] = field(default_factory=lambda: {"tiles": [], "regions": [], "objects": []})

    def __post_init__(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise UsageError(f"{self.folder} holds something already", mend="name a new folder")
        self._overlays = Overlays(self.library)

    def write(self) -> dict[str, int]:
        """Write all of it and return how many rows each table has.

        Raises
        ------
        UsageError
            When nothing was drawn or corrected, or a reviewed area is too large.
        """
        for slide_id in self.library.entries:
            drawn = self.drawings.of(slide_id)
            if drawn:
                with self.library.use(slide_id) as pyramid:
                    self._tiles(pyramid.slide, drawn)
                    self._regions(pyramid.slide, drawn)
                    self._objects(pyramid.slide, drawn)
        if not any(self.rows.values()):
            raise UsageError(
                "nothing was drawn or corrected that could be learned from",
                mend="label tiles, draw regions or correct objects in coverslip view",
            )
        for name, rows in self.rows.items():
            if rows:
                write_csv(self.folder / f"{name}.csv", rows)
        return {name: len(rows) for name, rows in self.rows.items()}

    # ------------------------------------------------------------------ tiles
    def _tiles(self, slide: Slide, drawn: Sequence[Drawn]) -> None:
        for one in drawn:
            if not (one.origin and one.origin["key"].startswith("predictions/") and one.class_name):
                continue
            box = box_of(one)
            name = f"tiles/{file_name(slide.id)}-{file_name(one.origin['key'])}-{one.origin['number']}.png"
            self._picture(name, slide.read_at(box, self._step(slide.id, box)))
            self.rows["tiles"].append({
                "path": name, "label": one.class_name, "source": slide.id,
                "predicted": one.origin["predicted"] or "", "author": one.changed_by, "time": one.changed,
            })  # fmt: skip

    def _step(self, slide_id: str, box: Box) -> float:
        """Return the level-0 pixels per pixel of the run's tiles; 1 for tiles that are not of the run."""
        run = self.library.entry(slide_id).run
        if run is None or not run.has(slide_id, "tiles"):
            return 1.0
        tiles = run.get(slide_id, "tiles")
        return box.width / tiles.spec.size if abs(tiles.side_px - box.width) < 1 else 1.0

    # ------------------------------------------------------------------ regions
    def _regions(self, slide: Slide, drawn: Sequence[Drawn]) -> None:
        kept = [
            one for one in drawn
            if one.class_name not in (None, REVIEWED)
            and not (one.origin and one.origin["key"].startswith("predictions/"))
        ]  # fmt: skip
        areas = [one for one in kept if one.geometry["type"] in ("Polygon", "MultiPolygon")]
        if not areas:
            return
        name = f"regions/{file_name(slide.id)}.geojson"
        self._annotations(name, as_annotations(areas), slide)
        self.rows["regions"].append({**self._source(slide), "annotations": name})

    # ------------------------------------------------------------------ objects
    def _objects(self, slide: Slide, drawn: Sequence[Drawn]) -> None:
        for number, area in enumerate((one for one in drawn if one.class_name == REVIEWED), 1):
            box = box_of(area)
            if max(box.width, box.height) > LARGEST:
                raise UsageError(
                    f"a reviewed area of {slide.id} is {box.width:.0f} × {box.height:.0f} px; "
                    f"{LARGEST} a side are the most",
                    mend="draw several smaller ones",
                )
            name = f"{file_name(slide.id)}-{number}"
            self._picture(f"objects/{name}.png", slide.read_at(box, 1.0))
            shapes = tuple(within(box, self._all_of(slide.id, drawn, box)))
            self._annotations(f"objects/{name}.geojson", Annotations(shapes), None)
            self.rows["objects"].append({
                "slide": name, "path": f"objects/{name}.png", "mpp": slide.mpp or "", "patient": slide.id,
                "annotations": f"objects/{name}.geojson", "author": area.changed_by, "time": area.changed,
            })  # fmt: skip

    def _all_of(self, slide_id: str, drawn: Sequence[Drawn], box: Box) -> Iterator[Shape]:
        """Yield all objects that meet a box: the model's as corrected, and those that were drawn."""
        name = self._objects_of(slide_id, drawn)
        spoken = {one.origin["number"]: one for one in drawn if one.origin and one.origin["key"] == name}
        if name is not None:
            index = self._overlays.objects(slide_id, name.partition("/")[2])
            yield from left_of(index, box, set(spoken), name.partition("/")[2])
        mine = [one for one in spoken.values() if one.origin and one.origin["verdict"] != "reject"]
        afresh = [one for one in drawn if one.origin is None and one.class_name not in (None, REVIEWED)]
        yield from as_annotations([*mine, *afresh]).shapes

    def _objects_of(self, slide_id: str, drawn: Sequence[Drawn]) -> str | None:
        """Return the key of the objects that were reviewed: named, corrected, or the only ones.

        Raises
        ------
        UsageError
            When it could be several.
        """
        run = self.library.entry(slide_id).run
        keys = [] if run is None else [key for key in run.keys(slide_id) if key.startswith("objects/")]
        if self.objects is not None:
            return f"objects/{self.objects}" if f"objects/{self.objects}" in keys else None
        corrected = {one.origin["key"] for one in drawn if one.origin} & set(keys)
        found = sorted(corrected or keys)
        if len(found) > 1:
            raise UsageError(
                f"the run has {', '.join(found)} of {slide_id}", mend="say which, with --objects NAME"
            )
        return found[0] if found else None

    # ------------------------------------------------------------------ files
    def _source(self, slide: Slide) -> Row:
        path = str(Path(slide.path).absolute())
        return {"slide": slide.id, "path": path, "mpp": slide.mpp or "", "patient": slide.id}

    def _picture(self, name: str, pixels: Any) -> None:
        import imagecodecs

        self._put(name, bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=3)))

    def _annotations(self, name: str, drawn: Annotations, slide: Slide | None) -> None:
        from coverslip.annotations.formats import encode

        self._put(name, encode(drawn, "geojson", slide, None))

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            partial.write_bytes(data)


def left_of(index: ObjectIndex, box: Box, spoken: set[int], name: str) -> Iterator[Shape]:
    """Yield the model's objects that meet a box and of which nobody has spoken."""
    table = index.within(box)
    for row in range(len(table)):
        number = int(table["object"][row])
        if number not in spoken:
            label = table["class"][row]
            yield Shape(str(number), "polygon", table.polygons[row], name if label is None else str(label))


def within(box: Box, shapes: Iterator[Shape]) -> Iterator[Shape]:
    """Yield shapes cut by a box, in pixels from its corner; those that are left without area are not."""
    import shapely
    from shapely import affinity

    frame = shapely.box(box.x, box.y, box.right, box.bottom)
    for one in shapes:
        for i, part in enumerate(shapely.get_parts(shapely.intersection(one.geometry, frame))):
            if part.geom_type == "Polygon" and part.area > 0:
                moved = affinity.translate(part, -box.x, -box.y)
                yield Shape(
                    f"{one.id}.{i}", "polygon", moved, one.class_name, author=one.author, time=one.time
                )


def box_of(drawn: Drawn) -> Box:
    """Return the bounds of a shape in whole pixels."""
    import shapely

    left, top, right, bottom = shapely.from_geojson(json.dumps(drawn.geometry)).bounds
    return Box(round(left), round(top), max(1, round(right - left)), max(1, round(bottom - top)))


def file_name(text: str) -> str:
    """Return a text as part of a file's name.

    Examples
    --------
    >>> file_name("S26-0411 A1/x")
    'S26-0411_A1_x'
    """
    return "".join(c if c.isalnum() or c in "-." else "_" for c in text)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of the same keys as a table, whole or not at all."""
    with atomic(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
