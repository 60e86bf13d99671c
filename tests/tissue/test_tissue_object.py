"""The tissue of a slide: shares of squares, boxes, GeoJSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core import Box, Size
from coverslip.core.errors import GeometryError
from coverslip.tissue import Tissue

RING = shapely.Point(500, 400).buffer(300) - shapely.Point(500, 400).buffer(120)


def tissue(downsample: float = 8.0) -> Tissue:
    return Tissue.from_polygons(
        [RING, shapely.box(900, 700, 1000, 800)], Size(1010, 805), downsample, notes=("a",)
    )


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(-300, 1200),
    y=st.floats(-300, 1000),
    side=st.floats(3, 700),
    downsample=st.sampled_from([1.0, 4.0, 7.3, 16.0]),
)
def test_share_is_the_exact_mean_of_the_mask(x, y, side, downsample):
    found = tissue(downsample)
    edges = np.arange(max(found.mask.shape) + 1) * downsample
    rows, columns = found.mask.shape
    across = np.clip(np.minimum(edges[1:], x + side) - np.maximum(edges[:-1], x), 0, None)[:columns]
    down = np.clip(np.minimum(edges[1:], y + side) - np.maximum(edges[:-1], y), 0, None)[:rows]
    expected = down @ found.mask @ across / side**2
    assert found.share_in(np.array([[x, y]]), side)[0] == pytest.approx(expected, abs=2e-5)


@settings(max_examples=30, deadline=None)
@given(x=st.floats(0, 900), y=st.floats(0, 700), side=st.floats(40, 300))
def test_share_agrees_with_the_polygons(x, y, side):
    exact = (
        shapely.box(x, y, x + side, y + side).intersection(shapely.union_all(tissue().polygons)).area
        / side**2
    )
    assert tissue(2.0).share_in(np.array([[x, y]]), side)[0] == pytest.approx(exact, abs=4 * 2.0 / side)


def test_many_squares_at_once_and_outside():
    xy = np.array([[450, 150], [460, 360], [-5000, 0], [5000, 5000]])
    shares = tissue(1.0).share_in(xy, 80)
    assert shares.dtype == np.float32
    assert shares.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert tissue().share_in(np.empty((0, 2)), 80).shape == (0,)


def test_boxes_and_area_largest_first():
    assert tissue().boxes() == (Box(200, 100, 600, 600), Box(900, 700, 100, 100))
    assert tissue().area_px == pytest.approx(RING.area + 10_000, rel=0.01)


def test_geojson_round_trip_changes_nothing():
    found = tissue()
    text = json.dumps(found.to_geojson())
    back = Tissue.from_geojson(json.loads(text))
    assert np.array_equal(back.mask, found.mask)
    assert back.downsample == found.downsample
    assert all(a.equals_exact(b, 0) for a, b in zip(back.polygons, found.polygons, strict=True))
    assert (back.method, back.notes) == (found.method, found.notes)
    first = json.loads(text)["features"][0]
    assert first["geometry"]["type"] == "Polygon"
    assert len(first["geometry"]["coordinates"]) == 2
    assert first["properties"]["objectType"] == "annotation"


def test_geojson_of_no_tissue_round_trip():
    empty = Tissue.from_polygons([], Size(1000, 800), 8.0, notes=("no tissue found",))
    back = Tissue.from_geojson(empty.to_geojson())
    assert back.empty
    assert back.mask.shape == (100, 125)
    assert back.notes == ("no tissue found",)


def test_polygons_a_person_drew_need_the_size_and_may_overlap():
    data = tissue().to_geojson()
    del data["coverslip"]
    with pytest.raises(GeometryError, match="how large the slide is"):
        Tissue.from_geojson(data)
    drawn = shapely.geometry.mapping(shapely.box(200, 100, 500, 400))
    data["features"].append({"type": "Feature", "geometry": drawn})
    back = Tissue.from_geojson(data, size=Size(1010, 805), downsample=8.0)
    assert len(back.polygons) == 2
    assert back.area_px > tissue().area_px


def collection(geometry):
    return {"type": "FeatureCollection", "features": [{"geometry": geometry}]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"type": "Feature"}, "FeatureCollection"),
        (collection({"type": "Point"}), "'Point'"),
        (collection({"type": "Polygon", "coordinates": [[[0, 0]]]}), "no polygon"),
    ],
)
def test_what_is_no_tissue_is_refused(data, words):
    with pytest.raises(GeometryError, match=words):
        Tissue.from_geojson(data, size=Size(10, 10), downsample=1)


def test_a_downsample_of_zero_is_refused():
    with pytest.raises(GeometryError, match="downsample"):
        Tissue.from_polygons([], Size(10, 10), 0)
