"""Overlays lie where the results lie."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shapely import Point, Polygon

from coverslip.report.findings import Findings
from coverslip.report.layers import TOLERANCE, layers, outline, scale_bar
from coverslip.report.pictures import CLEAR, Picture, jpeg_within, labels_png, paint_squares, shrink
from coverslip.store import GradedTiles


def image_of(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))


def rings_of(path: str, shrinkage: float) -> list[np.ndarray]:
    parts = re.findall(r"M([^Z]+)Z", path)
    return [np.array([p.split() for p in part.split("L")], float) * shrinkage for part in parts]


@given(st.floats(500, 5000), st.floats(500, 5000), st.floats(100, 400), st.floats(0.1, 0.8), st.floats(1, 60))
def test_an_outline_is_the_polygon_again(
    x: float, y: float, radius: float, hole: float, shrinkage: float
) -> None:
    polygon = Point(x, y).buffer(radius).difference(Point(x, y).buffer(radius * hole))
    outer, inner = rings_of(outline([polygon], shrinkage), shrinkage)
    again = Polygon(outer, [inner])
    assert again.hausdorff_distance(polygon) <= (TOLERANCE + 0.1) * shrinkage
    assert again.symmetric_difference(polygon).area <= polygon.length * (TOLERANCE + 0.1) * shrinkage


@given(st.integers(0, 60), st.integers(0, 40), st.floats(1, 20))
def test_a_square_is_painted_on_the_pixels_it_covers(x: int, y: int, side: float) -> None:
    image = paint_squares((50, 70), np.array([[x, y]], float), np.array([3], np.uint8), side=side)
    rows, columns = np.nonzero(image == 3)
    assert (columns.min(), rows.min()) == (x, y)
    assert columns.max() + 1 == pytest.approx(min(x + side, 70), abs=0.51)
    assert rows.max() + 1 == pytest.approx(min(y + side, 50), abs=0.51)


def test_a_square_smaller_than_a_pixel_is_still_seen() -> None:
    image = paint_squares((5, 5), np.array([[2.2, 3.3]]), np.zeros(1, np.uint8), side=0.1)
    assert np.argwhere(image == 0).tolist() == [[3, 2]]


def test_a_palette_image_keeps_labels_colours_and_holes() -> None:
    labels = np.array([[0, 1, CLEAR]], np.uint8)
    picture = labels_png(labels, ["#0077bb", "#ee7733"], "map")
    rgba = np.asarray(image_of(picture).convert("RGBA"))
    assert rgba[0].tolist() == [[0, 0x77, 0xBB, 255], [0xEE, 0x77, 0x33, 255], [0, 0, 0, 0]]


def test_a_thumbnail_stays_within_its_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 500, 3), np.uint8)
    small = shrink(noise, 192)
    assert small.shape[:2] == (115, 192)
    assert len(base64.b64decode(jpeg_within(small, "x", 12_000).uri.partition(",")[2])) <= 12_000


def test_layers_of_a_slide(findings: Findings) -> None:
    made = {layer.key: layer for layer in layers(findings)}
    assert list(made) == ["tissue", "flag-blur", "flag-fold", "tiles", "lookalike"]
    blur = made["flag-blur"].picture
    assert blur is not None
    painted = np.asarray(image_of(blur)) != CLEAR
    shrinkage = findings.shrinkage
    for x, y, raised in zip(*(findings.quality.cells[name] for name in ("x", "y", "blur")), strict=True):
        assert painted[int((y + 32) / shrinkage), int((x + 32) / shrinkage)] == raised
    assert len(rings_of(made["tissue"].path or "", 1)) == 2


def test_the_lookalike_map_shows_each_tile_in_its_class(findings: Findings) -> None:
    picture = next(layer.picture for layer in layers(findings) if layer.key == "lookalike")
    assert picture is not None
    painted = np.asarray(image_of(picture))
    centres = ((findings.tiles.xy + findings.tiles.side_px / 2) / findings.shrinkage).astype(int)
    assert painted[centres[:, 1], centres[:, 0]].tolist() == findings.lookalike["label"].tolist()


def test_tiles_hardly_usable_have_another_colour(findings: Findings) -> None:
    usable = np.linspace(0, 1, len(findings.tiles), dtype=np.float32)
    graded = dataclasses.replace(findings, tiles=GradedTiles.of(findings.tiles, {"usable": usable}))
    layer = next(layer for layer in layers(graded) if layer.key == "tiles")
    assert layer.picture is not None
    painted = np.asarray(image_of(layer.picture))
    centres = ((findings.tiles.xy + findings.tiles.side_px / 2) / findings.shrinkage).astype(int)
    assert painted[centres[:, 1], centres[:, 0]].tolist() == (usable < 0.5).astype(int).tolist()
    assert f"{(usable < 0.5).sum()} hardly usable" in layer.hint


def test_the_scale_bar_has_the_length_it_says(findings: Findings) -> None:
    bar = scale_bar(findings)
    assert bar is not None
    said = float(re.sub(r"[^\d.]", "", bar.text))
    assert bar.width * findings.shrinkage * 0.5 == pytest.approx(said, rel=1e-3)
    assert scale_bar(Findings("a", {"width": 10, "height": 10}, findings.thumbnail)) is None


def test_no_thumbnail_no_layers() -> None:
    assert layers(Findings("a")) == ()
