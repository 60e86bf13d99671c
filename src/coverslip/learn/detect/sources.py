"""Pictures and slides with their objects, cut into windows that fit memory, read when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import Annotations, Shape
from coverslip.core import Box
from coverslip.core.errors import CoverslipError, UsageError
from coverslip.learn.detect.example import Example, from_labels
from coverslip.learn.segment.drawn import COLUMN, folder_of
from coverslip.models.detectors_light import Light, light_of, stretched
from coverslip.models.nuclei.scale import LARGEST, SMALLEST
from coverslip.slides import Slide, open_slide

if TYPE_CHECKING:
    from coverslip.cohort import Cohort
    from coverslip.slides import SlideSource

LABEL_IMAGES = (".png", ".tif", ".tiff")
"""Endings of instance masks: one number per object, 0 for none."""

WINDOW = 1024
"""Larger pictures and slides are cut into windows of this side."""

CROWD = 16
"""A square is cut for every so many objects, so that crowded pictures teach more often."""

KEPT = 512
"""Windows that are kept in memory."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture or slide, and the objects on it.

    Attributes
    ----------
    source
        The file.
    downsample
        Its pixels per pixel that the network sees.
    size
        Width and height as the network sees it.
    shapes
        Objects in level-0 pixels; empty with `labels`.
    labels
        Instance mask (h, w) of level 0, or None.
    light
        The intensities that become black and white; None leaves the picture's own.
    notes
        What was repaired or left out.
    """

    source: SlideSource
    downsample: float
    size: tuple[int, int]
    shapes: tuple[Shape, ...] = ()
    labels: NDArray[np.int32] | None = None
    light: Light | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def sides(self) -> NDArray[np.float64]:
        """Sides of squares as large as the objects' boxes, in pixels that the network sees, (n,)."""
        if self.labels is not None:
            from scipy.ndimage import find_objects

            places = [place for place in find_objects(self.labels) if place is not None]
            spans = [(y.stop - y.start) * (x.stop - x.start) for y, x in places]
        else:
            bounds = [shape.geometry.bounds for shape in self.shapes]
            spans = [(right - left) * (bottom - top) for left, top, right, bottom in bounds]
        return np.sqrt(np.asarray(spans, np.float64)) / self.downsample

    @property
    def kinds(self) -> NDArray[np.str_]:
        """Classes of the objects in the order of `sides`, (n,); of an instance mask, which knows none, ""."""
        if self.labels is not None:
            return np.full(len(self.sides), "")
        return np.array([str(shape.class_name) for shape in self.shapes], str)

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.shapes) if self.labels is None else len(np.unique(self.labels)) - 1


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How objects are read; see `coverslip.learn.detect.task.DetectTask`."""

    classes: tuple[str, ...]
    masks: bool
    mpp: float | None
    rename: dict[str, str]
    repair: bool = False
    stretch: bool = False


def read_objects(cohort: Cohort, reading: Reading) -> list[Drawn]:
    """Open every picture of a cohort and read its objects.

    Raises
    ------
    UsageError
        With all problems of all pictures, each named: no annotations, a mask of another size, shapes that
        cross themselves or lie outside, unknown classes; boxes where masks are wanted.
    """
    if COLUMN not in cohort.columns:
        raise UsageError(
            f"{cohort.name} has no column {COLUMN}: expected the file of each picture's objects",
            mend=f"add a column {COLUMN}: VOC, COCO, GeoJSON …, or an instance mask (PNG, TIFF)",
        )
    found: list[Drawn] = []
    problems: list[str] = []
    for source, file in zip(cohort.to_sources(), cohort.column(COLUMN).tolist(), strict=True):
        try:
            found.append(_read(source, folder_of(cohort) / file, reading))
        except CoverslipError as error:
            problems.append(f"{source.id}: {error}")
    if problems:
        listed = "".join(f"\n  {number}. {text}" for number, text in enumerate(problems, 1))
        raise UsageError(f"{len(problems)} of {len(cohort)} pictures cannot be learned from:{listed}\n")
    return found


def _read(source: SlideSource, file: Path, reading: Reading) -> Drawn:
    if not file.is_file():
        raise UsageError(f"its annotations {file} are not there", mend="check the path")
    with open_slide(source.path, mpp=source.mpp) as slide:
        step = 1.0 if reading.mpp is None else reading.mpp / slide.require_mpp()
        size = (max(1, round(slide.size.width / step)), max(1, round(slide.size.height / step)))
        light = light_of(slide.thumbnail(WINDOW)) if reading.stretch else None
        if file.suffix.lower() in LABEL_IMAGES:
            return Drawn(source, step, size, labels=_mask(file, slide, reading), light=light)
        drawn = Annotations.read(file, slide=slide).renamed(reading.rename)
        drawn = drawn.checked(slide=slide, classes=reading.classes, repair=reading.repair)
        flat = [shape.title for shape in drawn.shapes if reading.masks and shape.kind == "rectangle"]
        if flat and len(flat) == len(drawn.shapes):
            raise UsageError(
                f"{file} holds boxes alone, and masks are to be learned",
                mend="write masks: false in the task",
            )
        shapes = tuple(shape for shape in drawn.shapes if shape.polygons)
        thin = len(drawn.shapes) - len(shapes)
        notes = (*drawn.notes, *([f"{thin} lines and points were left out"] if thin else []))
        return Drawn(source, step, size, shapes, light=light, notes=notes)


def _mask(file: Path, slide: Slide, reading: Reading) -> NDArray[np.int32]:
    import cv2

    if len(reading.classes) != 1:
        raise UsageError(f"{file} is an instance mask, which says no classes: expected one class in the task")
    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2 or image.dtype.kind not in "ui":
        raise UsageError(f"{file} is no instance mask: expected one channel of whole numbers")
    if image.shape != (slide.size.height, slide.size.width):
        raise UsageError(
            f"the mask {file} has {image.shape[1]} × {image.shape[0]} pixels and {slide.id} has "
            f"{slide.size.width} × {slide.size.height}",
            mend="give the mask of this picture, in its size",
        )
    return np.asarray(image, np.int32)


class Windows:
    """Windows of pictures as examples; those that a slide has without objects are left out.

    Parameters
    ----------
    drawn
        Pictures and slides.
    classes
        Names; the first is class 1 of the examples.
    masks
        Whether examples have label images.
    """

    def __init__(self, drawn: Sequence[Drawn], classes: Sequence[str], *, masks: bool) -> None:
        self._drawn, self._masks = list(drawn), masks
        self._numbers = {name: number for number, name in enumerate(classes, 1)}
        self._places = [
            (row, x, y)
            for row, each in enumerate(self._drawn)
            for y in range(0, each.size[1], WINDOW)
            for x in range(0, each.size[0], WINDOW)
            if self._holds(each, x, y)
        ]
        self._get = lru_cache(KEPT)(self._read)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Example:
        """Return a window."""
        return self._get(index)

    def squares(self, repeat: int) -> list[int]:
        """Return how many squares an epoch takes of each window: one for every `CROWD` objects, at least."""
        windows = Counter(row for row, _, _ in self._places)
        crowds = [self._drawn[row].count / windows[row] / CROWD for row, _, _ in self._places]
        return [max(repeat, round(repeat * crowd)) for crowd in crowds]

    def scales(self, object_px: float | None) -> list[float] | None:
        """Return by which factor each window is resized so that its picture's objects have one size."""
        if object_px is None:
            return None
        by_picture = [scale_to(object_px, each.sides) for each in self._drawn]
        return [by_picture[row] for row, _, _ in self._places]

    def where(self, index: int) -> str:
        """Name a window."""
        row, x, y = self._places[index]
        each = self._drawn[row]
        return f"{each.source.id} at ({x * each.downsample:.0f}, {y * each.downsample:.0f})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_get"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._get = lru_cache(KEPT)(self._read)

    def _holds(self, each: Drawn, x: int, y: int) -> bool:
        if max(each.size) <= WINDOW:
            return True
        if each.labels is not None:
            rows, columns = (
                slice(int(v * each.downsample), int((v + WINDOW) * each.downsample)) for v in (y, x)
            )
            return bool(each.labels[rows, columns].any())
        return bool(_near(each, x, y, (WINDOW, WINDOW)))

    def _read(self, index: int) -> Example:
        row, x, y = self._places[index]
        each = self._drawn[row]
        size = (min(WINDOW, each.size[0] - x), min(WINDOW, each.size[1] - y))
        step = each.downsample
        with open_slide(each.source.path, mpp=each.source.mpp) as slide:
            pixels = slide.read_at(Box(x * step, y * step, size[0] * step, size[1] * step), step)
        if each.light is not None:
            pixels = stretched(pixels, each.light)
        if each.labels is not None:
            return from_labels(pixels, self._cut(each, x, y, pixels.shape[:2]), name=each.source.id)
        return self._of_shapes(each, x, y, pixels)

    def _cut(self, each: Drawn, x: int, y: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
        """Return the mask's window, by nearest pixels where the picture is read smaller."""
        whole = np.empty((0, 0), np.int32) if each.labels is None else each.labels
        rows = np.minimum((np.arange(shape[0]) + y + 0.5) * each.downsample, whole.shape[0] - 1)
        columns = np.minimum((np.arange(shape[1]) + x + 0.5) * each.downsample, whole.shape[1] - 1)
        return whole[np.ix_(rows.astype(int), columns.astype(int))]

    def _of_shapes(self, each: Drawn, x: int, y: int, pixels: NDArray[np.uint8]) -> Example:
        high, wide = pixels.shape[:2]
        near = _near(each, x, y, (wide, high))
        polygons = [_local(shape, each.downsample, (x, y)) for shape in near]
        classes = np.array([self._numbers[str(shape.class_name)] for shape in near], np.int64)
        name = each.source.id
        if self._masks:
            return from_labels(pixels, _painted(polygons, wide, high), classes=classes, name=name)
        limits = np.array([wide, high, wide, high], np.float32)
        bounds = np.array([p.bounds for p in polygons], np.float32).reshape(-1, 4)
        return Example(pixels, np.clip(bounds, 0, limits), classes, None, name)


def scale_to(object_px: float, sides: NDArray[np.float64]) -> float:
    """Return the factor that brings the median side to `object_px`, within `SMALLEST` and `LARGEST`.

    Examples
    --------
    >>> scale_to(22, np.array([10.0, 11.0, 40.0])), scale_to(22, np.empty(0))
    (2.0, 1.0)
    """
    if not len(sides):
        return 1.0
    return float(np.clip(object_px / max(float(np.median(sides)), 1e-3), SMALLEST, LARGEST))


def _near(each: Drawn, x: int, y: int, size: tuple[int, int]) -> list[Shape]:
    """Return the shapes whose middle lies in a window."""
    step = each.downsample
    found = []
    for shape in each.shapes:
        left, top, right, bottom = shape.geometry.bounds
        at = ((left + right) / 2 / step - x, (top + bottom) / 2 / step - y)
        if 0 <= at[0] < size[0] and 0 <= at[1] < size[1]:
            found.append(shape)
    return found


def _local(shape: Shape, step: float, corner: tuple[int, int]) -> Any:
    import shapely

    return shapely.transform(shape.geometry, lambda points: points / step - corner)


def _painted(polygons: Sequence[Any], width: int, height: int) -> NDArray[np.int32]:
    """Paint polygons with the numbers 1, 2 …, the later on top."""
    import cv2

    labels = np.zeros((height, width), np.int32)
    for number, polygon in enumerate(polygons, 1):
        for part in getattr(polygon, "geoms", (polygon,)):
            # middles of pixels are whole numbers to OpenCV, halves to us
            rings = [np.asarray(ring.coords) for ring in (part.exterior, *part.interiors)]
            cv2.fillPoly(labels, [np.round((r - 0.5) * 256).astype(np.int32) for r in rings], number, shift=8)
    return labels
