"""Labels by exact area; outlines back along the pixels."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coverslip.annotations import IGNORE, Annotations, Grid, Shape, rasterise, vectorise
from coverslip.annotations.coverage import coverage
from coverslip.core import Box, Region, Size
from coverslip.core.errors import GeometryError, UnknownNameError, UsageError


def area(name: str, *places: float) -> Shape:
    return Shape(f"{name}-{places}", "rectangle", shapely.box(*places), name)


def star(seed: int, count: int = 9) -> Any:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * math.pi, count))
    radius = rng.uniform(1, 12, count)
    return shapely.Polygon(
        np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + rng.uniform(-4, 20, 2)
    )


# ------------------------------------------------------------------ coverage
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 0.5, 2.0]))
def test_coverage_is_the_area_in_each_pixel(seed: int, scale: float) -> None:
    shape = shapely.difference(*(shapely.make_valid(star(s)) for s in (seed, seed + 1)))
    shape = shapely.transform(
        shapely.MultiPolygon([p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"]),
        lambda points: np.round(points * scale * 4) / 4 if seed % 2 else points * scale,
    )
    assume(shape.is_valid)
    width, height = 17, 13
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    truth = shapely.area(shapely.intersection(shapely.box(x, y, x + 1, y + 1), shape))
    np.testing.assert_allclose(coverage(shape, width, height), truth, atol=1e-9)


# ------------------------------------------------------------------ rule of areas
def test_the_largest_share_wins_and_nothing_competes_too() -> None:
    drawn = Annotations((area("a", 0, 0, 1.4, 1), area("b", 1.4, 0, 2.6, 1), area("a", 3, 0, 3.4, 1)))
    labels = rasterise(drawn, Grid(Size(4, 1)), classes=["a", "b"])
    assert labels.tolist() == [[0, 1, 1, IGNORE]]
    assert labels.dtype == np.uint8


def test_priority_says_who_is_on_top() -> None:
    drawn = Annotations((area("a", 0, 0, 3, 1), area("b", 1, 0, 2, 1)))
    grid = Grid(Size(3, 1))
    assert rasterise(drawn, grid, classes=["a", "b"]).tolist() == [[0, 0, 0]]
    assert rasterise(drawn, grid, classes=["a", "b"], priority=["b", "a"]).tolist() == [[0, 1, 0]]


def test_background_takes_what_nobody_drew_and_its_own() -> None:
    # a third tumour, a third background as drawn, a third not drawn: background has two thirds
    drawn = Annotations((area("tumour", 0, 0, 1.1, 3), area("glass", 1.1, 0, 2, 3)))
    grid = Grid(Size(2, 1), 3.0)
    classes = {"tumour": 7, "glass": 3}
    assert rasterise(drawn, grid, classes=classes, background="glass").tolist() == [[3, 3]]
    assert rasterise(drawn, grid, classes=classes).tolist() == [[7, IGNORE]]


def test_classes_may_share_a_label_and_shares_add_up() -> None:
    drawn = Annotations((area("dcis", 0, 0, 0.3, 1), area("tumour", 0.3, 0, 0.6, 1), area("x", 0.6, 0, 1, 1)))
    assert rasterise(drawn, Grid(Size(1, 1)), classes={"dcis": 1, "tumour": 1, "x": 2}).tolist() == [[1]]


def test_regions_at_any_mpp_and_windows_are_parts_of_the_whole() -> None:
    shapes = tuple(Shape(str(i), "polygon", star(i), "ab"[i % 2]) for i in range(6))
    drawn = Annotations(shapes)
    whole = rasterise(drawn, Grid(Size(60, 60), 0.5), classes=["a", "b"])
    part = rasterise(drawn, Grid(Size(20, 16), 0.5, (7, 9)), classes=["a", "b"])
    assert (part == whole[18:34, 14:34]).all()
    assert (whole == IGNORE).any()
    assert Grid.of_region(Region(Box(7, 9, 10, 8), 0.25), 0.5) == Grid(Size(20, 16), 0.5, (7, 9))


def test_rasterise_names_what_is_wrong() -> None:
    bow = Shape("7", "polygon", shapely.Polygon([[0, 0], [2, 2], [2, 0], [0, 2]]), "a")
    grid = Grid(Size(4, 4))
    with pytest.raises(GeometryError, match=r"shape 7 .* crosses"):
        rasterise(Annotations((bow,)), grid, classes=["a"])
    repaired = Annotations((bow,)).checked(repair=True)
    assert (rasterise(repaired, grid, classes=["a"]) == 0).sum() > 0
    for classes in ({"a": 255}, ["a", "a"], {}, {"a": -1}):
        with pytest.raises(UsageError, match="cannot be labels"):
            rasterise(Annotations(), grid, classes=classes)
    with pytest.raises(UsageError, match="missing: b"):
        rasterise(Annotations(), grid, classes=["a", "b"], priority=["a"])
    with pytest.raises(UnknownNameError):
        rasterise(Annotations(), grid, classes=["a"], background="c")
    with pytest.raises(GeometryError, match="no grid"):
        Grid(Size(0, 3))


def test_lines_need_a_width() -> None:
    drawn = Annotations((Shape("1", "line", shapely.LineString([[0, 1], [4, 1]]), "a"),))
    assert (rasterise(drawn, Grid(Size(4, 2)), classes=["a"]) == IGNORE).all()
    assert (rasterise(drawn.widened(1), Grid(Size(4, 2)), classes=["a"]) == 0).all()


# ------------------------------------------------------------------ back to shapes
PICTURES = arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255])
)
NAMES = {"nought": 0, "one": 1, "two": 2}


@settings(max_examples=80, deadline=None)
@given(PICTURES, st.sampled_from([1.0, 2.5, 4.0]))
def test_labels_come_back_and_areas_are_pixels(labels: np.ndarray[Any, Any], downsample: float) -> None:
    drawn = vectorise(labels, downsample, classes=NAMES, origin=(-3, 8))
    assert drawn.problems() == ()
    for name, label in NAMES.items():
        assert (
            sum(s.area_px for s in drawn.shapes if s.class_name == name)
            == (labels == label).sum() * downsample**2
        )
        count = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=4)[0] - 1
        assert len(drawn.take(class_names=[name])) == count
    grid = Grid(Size(labels.shape[1], labels.shape[0]), downsample, (-3, 8))
    assert (rasterise(drawn, grid, classes=NAMES) == labels).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 2.0, 5.0]))
def test_simplified_borders_stay_shared_and_near(seed: int, tolerance: float) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(60, 70)).astype(np.float32), (0, 0), 5)
    labels = np.digitize(noise, np.quantile(noise, [0.3, 0.7])).astype(np.uint8)
    exact = vectorise(labels, 2.0, classes=NAMES)
    simple = vectorise(labels, 2.0, classes=NAMES, tolerance=tolerance)
    assert simple.problems() == ()
    shapes = [shape.geometry for shape in simple.shapes]
    # a partition: nothing overlaps and nothing is missing
    assert sum(map(shapely.area, shapes)) == pytest.approx(shapely.union_all(shapes).area, rel=1e-12)
    assert shapely.union_all(shapes).area == pytest.approx(4 * labels.size, rel=0.02)
    assert len(shapes) == len(exact)
    assert [len(p.interiors) for p in shapes].count(0) == [
        len(s.geometry.interiors) for s in exact.shapes
    ].count(0)
    for name in NAMES:
        ours, theirs = (
            shapely.union_all([s.geometry for s in d.shapes if s.class_name == name]) for d in (simple, exact)
        )
        assert shapely.boundary(theirs).buffer(tolerance * 1.0001 + 1e-9).covers(shapely.boundary(ours))
    assert all("simplified within" in note for note in simple.notes)


def test_vectorise_refuses_what_is_no_label_image() -> None:
    with pytest.raises(GeometryError, match="no label image"):
        vectorise(np.zeros((3, 3), np.float32), classes=["a"])
    with pytest.raises(GeometryError, match="tolerance"):
        vectorise(np.zeros((3, 3), np.uint8), classes=["a"], tolerance=-1)
    with pytest.raises(UsageError, match="name labels"):
        vectorise(np.zeros((3, 3), np.uint8), classes={"a": 1, "b": 1})


# ------------------------------------------------------------------ a real mask
def test_contours_become_the_mask_beside_them(test_data: Path) -> None:
    """4,594 × 4,542 pixels; the table does not order groups of equal overlay order."""
    folder = test_data / "annotations" / "htk"
    drawn = Annotations.read(next(folder.glob("*.tsv")))
    table = (folder / "sample_GTcodes.csv").read_text().splitlines()
    rows = {row["group"]: row for row in csv.DictReader(table)}
    mask = cv2.imread(str(next(folder.glob("*mask.png"))), cv2.IMREAD_UNCHANGED)
    ordered = sorted(drawn.classes, key=lambda name: name == "roi" or -int(rows[name]["overlay_order"]))
    codes = {name: int(rows[name]["GT_code"]) for name in drawn.classes}
    (codes["roi"],) = (int(row["GT_code"]) for row in rows.values() if row["is_background_class"] == "1")
    labels = rasterise(drawn, Grid(Size(mask.shape[1], mask.shape[0])), classes=codes, priority=ordered)
    labels[labels == IGNORE] = 0
    assert (labels != mask).mean() < 2e-5
