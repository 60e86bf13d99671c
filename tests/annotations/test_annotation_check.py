"""What is wrong is listed at once, by name; repairs are asked for and noted."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.annotations import Annotations, DrawnOn, Shape
from coverslip.annotations.colour import (
    from_bgr,
    from_packed,
    hex_of,
    parse_colour,
    rgb_of,
    to_bgr,
    to_packed,
)
from coverslip.annotations.shape import ellipse, line, polygon
from coverslip.core import Size
from coverslip.core.errors import GeometryError, UsageError


class FakeSlide:
    """Size and digest."""

    id, size, digest = "slide-a", Size(100, 80), "abc"


SLIDE: object = FakeSlide()
BOW = Shape("bow", "polygon", polygon([[0, 0], [10, 10], [10, 0], [0, 10]]), "tumour")
GOOD = Shape("good", "rectangle", shapely.box(1, 1, 5, 5), "tumour")
ODD = (
    GOOD,
    BOW,
    Shape("void", "polygon", shapely.Polygon(), "tumour"),
    Shape("flat", "polygon", polygon([[3, 3], [9, 9]]), "tumour"),
    Shape("nan", "polygon", polygon([[float("nan"), 0], [1, 1], [2, 0]]), "tumour"),
    Shape("over", "rectangle", shapely.box(90, 10, 120, 20), "tumour"),
    Shape("far", "rectangle", shapely.box(300, 10, 320, 20), "tumour"),
    Shape("line", "line", line([[50, 50], [150, 50]]), "tumour"),
    Shape("name", "rectangle", shapely.box(1, 1, 5, 5), "tumor"),
)


def test_everything_wrong_is_listed_once_by_name() -> None:
    drawn = Annotations(ODD, drawn_on=DrawnOn("slide-b", Size(100, 90), "abd"))
    found = drawn.problems(slide=SLIDE, classes=["tumour"])  # type: ignore[arg-type]
    assert [(p.shape, p.kind) for p in found] == [
        (None, "other slide"),
        (None, "other slide"),
        ("bow", "self-crossing"),
        ("void", "empty"),
        ("flat", "no area"),
        ("nan", "not finite"),
        ("over", "outside"),
        ("far", "outside"),
        ("line", "outside"),
        ("name", "unknown class"),
    ]
    assert "100 × 90" in found[0].text
    with pytest.raises(GeometryError, match=r"(?s)10 problem.*10\. shape name \(tumor\): class 'tumor'"):
        drawn.checked(slide=SLIDE, classes=["tumour"])  # type: ignore[arg-type]


def test_repairs_are_asked_for_and_noted() -> None:
    drawn = Annotations(ODD[:-1])
    with pytest.raises(GeometryError, match=r"repair=True"):
        drawn.checked()
    mended = drawn.checked(slide=SLIDE, repair=True)  # type: ignore[arg-type]
    assert [shape.id for shape in mended.shapes] == ["good", "bow", "over", "line"]
    assert mended.shapes[0] is GOOD
    assert mended.shapes[1].area_px == 50
    assert mended.shapes[2].geometry.bounds == (90, 10, 100, 20)
    assert mended.shapes[3].geometry.bounds == (50, 50, 100, 50)
    assert len(mended.notes) == 7
    assert "shape bow (tumour): untangled; its area went from 0 to 50 px" in mended.notes
    assert mended.problems(slide=SLIDE) == ()  # type: ignore[arg-type]


def test_a_wrong_class_or_slide_is_never_repaired() -> None:
    with pytest.raises(GeometryError, match="not among"):
        Annotations((ODD[-1],)).checked(classes=["tumour"], repair=True)
    other = Annotations((GOOD,), drawn_on=DrawnOn(digest="x"))
    with pytest.raises(GeometryError, match="digest x"):
        other.checked(slide=SLIDE, repair=True)  # type: ignore[arg-type]


def test_good_annotations_pass_unchanged() -> None:
    drawn = Annotations((GOOD,))
    assert drawn.checked(slide=SLIDE, classes=["tumour"], repair=True) == drawn  # type: ignore[arg-type]


def test_kinds_are_a_closed_list() -> None:
    with pytest.raises(UsageError, match="'blob'"):
        Shape("1", "blob", shapely.Point(0, 0))  # type: ignore[arg-type]


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colours_come_back_from_every_notation(colour: tuple[int, int, int]) -> None:
    assert from_packed(to_packed(colour)) == from_bgr(to_bgr(colour)) == colour
    assert (
        parse_colour(hex_of(colour)) == parse_colour(rgb_of(colour)) == parse_colour(list(colour)) == colour
    )
    assert -(1 << 24) <= to_packed(colour) < 0


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 5000), st.floats(0.5, 5000), st.floats(-180, 180))
def test_ellipses_keep_within_their_sagitta(width: float, height: float, turn: float) -> None:
    outline = ellipse((1000.0, -500.0), (width, height), turn)
    truth = np.pi * width * height
    assert truth - 0.11 * np.pi * (width + height) * 2 <= outline.area <= truth * (1 + 1e-12)
    again = shapely.affinity.rotate(outline, -turn, origin=(1000, -500)).bounds
    assert again[2] - again[0] == pytest.approx(2 * width, rel=1e-6)
    assert again[3] - again[1] == pytest.approx(2 * height, rel=1e-6)


def test_cut_polygons_cover_the_same_area() -> None:
    holes = [shapely.box(x, y, x + 3, y + 3).exterior for x, y in [(2, 2), (7, 2), (2, 7), (6, 6)]]
    whole = shapely.Polygon(shapely.box(0, 0, 12, 12).exterior, holes)
    split = Annotations((Shape("1", "polygon", whole, "a"),)).split()
    pieces = [shape.geometry for shape in split.shapes]
    assert all(len(piece.interiors) == 0 for piece in pieces)
    assert sum(piece.area for piece in pieces) == pytest.approx(whole.area, rel=1e-12)
    assert shapely.symmetric_difference(shapely.union_all(pieces), whole).area < 1e-9
    assert len(split.notes) == 1
