"""The shapes that people drew on one slide."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from coverslip.annotations.colour import Colour
from coverslip.annotations.shape import Shape, polygon, ring_free_parts
from coverslip.core import Size, atomic
from coverslip.core.errors import ExistsError, GeometryError

if TYPE_CHECKING:
    from coverslip.annotations.check import Problem
    from coverslip.annotations.raster import Grid
    from coverslip.slides import Slide


@dataclass(frozen=True, slots=True)
class DrawnOn:
    """The slide that annotations say they belong to; what a file does not say is None."""

    id: str | None = None
    size: Size | None = None
    digest: str | None = None

    @classmethod
    def of(cls, slide: Slide) -> Self:
        """Describe a slide."""
        return cls(slide.id, slide.size, slide.digest)


@dataclass(frozen=True)
class Annotations:
    """Shapes with classes, in level-0 pixels; a value that never changes.

    Attributes
    ----------
    shapes
        In the order of the file.
    classes
        Every class with its colour, or None where it has none.
    drawn_on
        The slide they belong to, as far as the file says.
    notes
        What reading, repairing or simplifying did.

    Examples
    --------
    >>> from shapely import box
    >>> drawn = Annotations((Shape("1", "rectangle", box(0, 0, 4, 3), "tumour"),))
    >>> drawn.classes, drawn.area_px("tumour"), drawn.problems()
    ({'tumour': None}, 12.0, ())
    """

    shapes: tuple[Shape, ...] = ()
    classes: Mapping[str, Colour | None] = field(default_factory=dict)
    drawn_on: DrawnOn = field(default_factory=DrawnOn)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", tuple(self.shapes))
        classes = dict(self.classes)
        for shape in self.shapes:
            if shape.class_name is not None and classes.get(shape.class_name) is None:
                classes[shape.class_name] = shape.colour
        object.__setattr__(self, "classes", classes)

    # ------------------------------------------------------------------ files
    @classmethod
    def read(
        cls, path: str | os.PathLike[str], *, format: str | None = None, slide: Slide | None = None
    ) -> Annotations:
        """Read a file; its content, not its ending, says which format it is.

        Nothing is repaired and no shape is left out: `checked` does that, or refuses.

        Parameters
        ----------
        path
            GeoJSON, XML, JSON, TIFF …: see ``coverslip.annotations.FORMATS``.
        format
            Name of a format, instead of looking at the content.
        slide
            The slide it was drawn on; needed where a format is not in level-0 pixels.

        Raises
        ------
        UsageError
            When the file is of no known format, or its content is damaged; both are named.
        """
        from coverslip.annotations.formats import read

        return read(Path(path), format, slide)

    def write(
        self,
        path: str | os.PathLike[str],
        format: str,
        *,
        slide: Slide | None = None,
        grid: Grid | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write a file whole or not at all; vertices read back as they are.

        Parameters
        ----------
        path
            Where to.
        format
            Name of a format in ``coverslip.annotations.FORMATS``.
        slide
            The slide it was drawn on; needed where a format is not in level-0 pixels.
        grid
            Pixels of a label image; only for ``label-image``.
        overwrite
            Replace a file that is there.

        Raises
        ------
        ExistsError
            When the file is there and `overwrite` is not said.
        UsageError
            When the format cannot hold some shapes: all are named, and what to do.
        """
        from coverslip.annotations.formats import encode

        target = Path(path)
        if target.exists() and not overwrite:
            raise ExistsError(f"{target} is there already", mend="choose another name, or say overwrite=True")
        content = encode(self, format, slide, grid)
        with atomic(target) as partial:
            partial.write_bytes(content)
        return target

    # ------------------------------------------------------------------ looking
    def area_px(self, class_name: str | None = None) -> float:
        """Return the area of what a class (or all shapes) covers, in level-0 pixels; overlaps count once."""
        import shapely

        parts = [p for s in self.shapes if class_name in {None, s.class_name} for p in s.polygons]
        return float(shapely.union_all(parts).area) if parts else 0.0

    def take(self, *, class_names: Iterable[str]) -> Annotations:
        """Return the shapes of some classes."""
        wanted = set(class_names)
        kept = {name: colour for name, colour in self.classes.items() if name in wanted}
        return replace(self, shapes=tuple(s for s in self.shapes if s.class_name in wanted), classes=kept)

    def renamed(self, names: Mapping[str, str]) -> Annotations:
        """Return the same shapes with other class names; classes that `names` does not hold stay.

        Examples
        --------
        >>> Annotations(classes={"Tumor": (200, 0, 0)}).renamed({"Tumor": "tumour"}).classes
        {'tumour': (200, 0, 0)}
        """
        shapes = tuple(
            replace(s, class_name=names.get(s.class_name or "", s.class_name)) for s in self.shapes
        )
        classes = {names.get(name, name): colour for name, colour in self.classes.items()}
        return replace(self, shapes=shapes, classes=classes)

    def problems(
        self, *, slide: Slide | None = None, classes: Sequence[str] | None = None
    ) -> tuple[Problem, ...]:
        """List all that is wrong: see `coverslip.annotations.check`."""
        from coverslip.annotations.check import problems

        return problems(self, slide, classes)

    def checked(
        self, *, slide: Slide | None = None, classes: Sequence[str] | None = None, repair: bool = False
    ) -> Annotations:
        """Return annotations that are fit for use, or refuse them with everything that is wrong.

        Parameters
        ----------
        slide
            Shapes must lie on it, and the file must not name another.
        classes
            The classes there may be.
        repair
            Untangle self-crossing outlines, clip to the slide, and leave out what is empty, without area
            or not finite; each repair is a note. A wrong slide or class is never repaired.

        Raises
        ------
        GeometryError
            With all problems, numbered.
        """
        from coverslip.annotations.check import refuse, repaired

        drawn = repaired(self, slide) if repair else self
        refuse(drawn.problems(slide=slide, classes=classes))
        return drawn

    # ------------------------------------------------------------------ simpler shapes
    def split(self) -> Annotations:
        """Return the same area in polygons without holes, for formats that hold neither holes nor parts.

        Multipolygons are split; a polygon with holes is cut along vertical lines through its holes. Lines
        and points stay. A note says which shapes changed.
        """
        shapes: list[Shape] = []
        changed: list[str] = []
        for shape in self.shapes:
            pieces = ring_free_parts(shape)
            shapes += pieces
            if pieces != [shape]:
                changed.append(f"{shape.title} was split into {len(pieces)} polygons without holes")
        return replace(self, shapes=tuple(shapes), notes=(*self.notes, *changed))

    def boxes(self) -> Annotations:
        """Return the bounding rectangle of every shape, for formats that hold only boxes."""
        shapes = tuple(
            replace(shape, kind="rectangle", geometry=_box(shape))
            for shape in self.shapes
            if not shape.geometry.is_empty
        )
        return replace(self, shapes=shapes, notes=(*self.notes, "every shape became its bounding rectangle"))

    def widened(self, radius: float) -> Annotations:
        """Return lines and points as areas `radius` level-0 pixels wide to each side; the rest stays.

        Raises
        ------
        GeometryError
            When the radius is not above 0.
        """
        if not radius > 0:
            raise GeometryError(f"radius {radius!r} is none: expected a number of level-0 pixels above 0")
        thin = {"line", "point", "points"}
        shapes = tuple(
            replace(s, kind="brush", geometry=s.geometry.buffer(radius)) if s.kind in thin else s
            for s in self.shapes
        )
        return replace(self, shapes=shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __repr__(self) -> str:
        return f"<Annotations: {len(self)} shapes, classes {', '.join(self.classes) or 'none'}>"


def _box(shape: Shape) -> object:
    left, top, right, bottom = shape.geometry.bounds
    return polygon([[left, top], [right, top], [right, bottom], [left, bottom]])
