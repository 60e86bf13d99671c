"""Files: content decides the format, vertices come back as they were, bad files are refused in words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip import open_slide
from coverslip.annotations import FORMATS, Annotations, DrawnOn, Grid, Shape
from coverslip.annotations.formats.coco import runs_of
from coverslip.annotations.formats.source import Source, Target
from coverslip.annotations.shape import ellipse, polygon
from coverslip.core import Size
from coverslip.core.errors import ExistsError, GeometryError, UnknownNameError, UsageError

RING = [[0.1, 0.2], [100, 0], [100.30000000000001, 99.7], [0, 100]]
HOLE = [[10, 10], [10, 20.123456789], [20, 10]]
SIMPLE = Shape("1", "polygon", polygon(RING), "tumour", (200, 10, 0), "first")
HOLED = Shape("2", "brush", polygon(RING, [HOLE]), "stroma", (0, 0, 250), "second")
MANY = Shape(
    "3", "multipolygon", shapely.MultiPolygon([polygon(RING, [HOLE]), shapely.box(200, 0, 300, 50)]), "tumour"
)
BOX = Shape("4", "rectangle", polygon([[5, 6], [25, 6], [25, 16], [5, 16]]), "tumour")
ROUND = Shape(
    "5", "ellipse", ellipse((50, 60), (20, 10), 0), "stroma", properties={"ellipse": [50, 60, 20, 10, 0]}
)
LINE = Shape("6", "line", shapely.LineString([[1, 2], [3.5, 4], [7, 4.25]]), "stroma")
POINT = Shape("7", "point", shapely.Point(3.25, 4), "tumour")
POINTS = Shape("8", "points", shapely.MultiPoint([[1, 2], [3.5, 4]]), "tumour")
EVERYTHING = (SIMPLE, HOLED, MANY, BOX, ROUND, LINE, POINT, POINTS)
HOLDS = {
    "geojson": EVERYTHING,
    "asap": (SIMPLE, BOX, LINE, POINT, POINTS),
    "imagescope": (SIMPLE, HOLED, BOX, ROUND, LINE),
    "dsa": (SIMPLE, HOLED, BOX, ROUND, LINE, POINT),
    "coco": (SIMPLE, BOX),
    "voc": (BOX,),
}


def through(drawn: Annotations, name: str, folder: Path, **given: Any) -> Annotations:
    path = drawn.write(folder / f"{name}.any", name, overwrite=True, **given)
    return Annotations.read(path, slide=given.get("slide"))


def key(shape: Shape) -> Any:
    return shape.class_name, shape.geometry.wkt, shape.kind if shape.kind != "brush" else "polygon"


def vertices(drawn: Annotations) -> list[Any]:
    return sorted((s.class_name or "", shapely.get_coordinates(s.geometry).tolist()) for s in drawn.shapes)


# ------------------------------------------------------------------ round trips
@pytest.mark.parametrize("name", HOLDS)
def test_what_a_format_holds_comes_back_exactly(name: str, tmp_path: Path) -> None:
    drawn = Annotations(HOLDS[name])
    again = through(drawn, name, tmp_path)
    assert vertices(again) == vertices(drawn)
    assert sorted(map(key, again.shapes)) == sorted(map(key, drawn.shapes))
    assert set(again.classes) == set(drawn.classes)
    assert name in {"voc"} or again.classes["tumour"] is None or again.classes["tumour"][0] in {200, 244, 0}


def test_geojson_keeps_everything(tmp_path: Path) -> None:
    shape = Shape(
        "x", "brush", polygon(RING), "tumour", (1, 2, 3), "n", "me", "2026-01-01", {"isLocked": True}
    )
    drawn = Annotations(
        (shape, *EVERYTHING), {"tumour": (9, 8, 7)}, DrawnOn("a", Size(10, 20), "abc"), ("a note",)
    )
    assert through(drawn, "geojson", tmp_path) == Annotations(
        drawn.shapes, drawn.classes | {"stroma": (0, 0, 250)}, drawn.drawn_on, drawn.notes
    )


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    path = Annotations((BOX,)).write(tmp_path / "a.geojson", "geojson")
    ring = json.loads(path.read_text())["features"][0]["geometry"]["coordinates"][0]
    assert repr(ring[0]) == "[5, 6]"
    assert ring[0] == ring[-1]


@pytest.mark.parametrize("name", ["geojson", "asap", "imagescope", "dsa", "coco"])
@settings(max_examples=25, deadline=None)
@given(points=st.lists(st.tuples(*[st.floats(-1e7, 1e7)] * 2), min_size=3, max_size=8, unique=True))
def test_any_vertices_come_back_to_the_last_bit(name: str, points: list[tuple[float, float]]) -> None:
    drawn = Annotations((Shape("1", "polygon", polygon(points), "a"),))
    form = FORMATS[name]
    assert form.write is not None
    source = Source("memory", form.write(drawn, Target()))
    assert next(f.name for f in FORMATS.values() if f.probe(source)) == name
    read = form.read(source)
    assert vertices(read) == vertices(drawn)


def test_camelyon_to_geojson_to_asap_and_back_is_exact(test_data: Path, tmp_path: Path) -> None:
    paths = sorted((test_data / "annotations" / "camelyon16").glob("*.json"))
    assert len(paths) == 30
    rng = np.random.default_rng(0)
    for path in paths:
        given = Annotations.read(path)
        drawn = through(through(given, "geojson", tmp_path), "asap", tmp_path)
        drawn.write(tmp_path / path.name, "camelyon")
        assert json.loads((tmp_path / path.name).read_text()) == json.loads(path.read_text())
        for shape, back in zip(given.shapes, drawn.shapes, strict=True):
            ring = np.array(shapely.get_coordinates(shape.geometry))
            x, y = ring.T
            shoelace = abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2
            assert back.area_px == pytest.approx(shoelace, rel=1e-9)
            if not back.geometry.is_valid:
                continue  # hand-drawn outlines cross themselves; where is inside then depends on the rule
            low, high = ring.min(axis=0), ring.max(axis=0)
            for point in rng.uniform(low, high, (5, 2)):
                inside = cv2.pointPolygonTest(
                    ring.astype(np.float32), point.astype(np.float32).tolist(), True
                )
                if abs(inside) > 0.1:
                    assert back.geometry.contains(shapely.Point(point)) == (inside > 0)


# ------------------------------------------------------------------ real files
def test_imagescope_areas_are_those_in_the_file(test_data: Path) -> None:
    path = next((test_data / "annotations" / "imagescope").glob("*.xml"))
    said = [float(text) for text in re.findall(r' Area="([^"]*)"', path.read_text())]
    drawn = Annotations.read(path)
    assert [shape.area_px for shape in drawn.shapes] == pytest.approx(said, abs=0.06)
    assert drawn.classes["CaP"] == (0, 255, 0)
    assert drawn.shapes[2].colour == (255, 0, 0)


def test_every_example_is_recognised_by_content(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "annotations" / "wsidicom"
    kinds = {}
    for path in sorted([*folder.glob("asap/*"), *folder.glob("qupath*/*")]):
        nameless = tmp_path / "nameless"
        nameless.write_bytes(path.read_bytes())
        drawn = Annotations.read(nameless)
        kinds[path.stem] = drawn.shapes[0].kind
        assert vertices(through(drawn, "geojson", tmp_path)) == vertices(drawn)
    assert kinds["qupath-rectangle"] == "rectangle"
    assert kinds["qupath-polyline"] == "line"
    assert kinds["qupath-multipoint"] == kinds["asap-pointset"] == "points"
    assert kinds["qupath-point"] == kinds["asap-dot"] == "point"
    cell = Annotations.read(folder / "qupath_geojson_advanced" / "qupath-polygon-cell-classified.json")
    assert cell.classes == {"Cell": (127, 220, 58), "Nucleus": (184, 115, 67)}


def test_holes_and_bare_geometries_of_qupath(test_data: Path) -> None:
    folder = test_data / "annotations" / "qupath"
    (holed,) = Annotations.read(folder / "histoqc_holed.geojson").shapes
    assert len(holed.polygons[0].interiors) == 1
    (many,) = Annotations.read(folder / "qupath_polygon.geojson").shapes
    assert many.kind == "multipolygon"
    assert many.geometry.is_valid


def test_imagescope_holes_find_their_region() -> None:
    text = """<Annotations><Annotation Id="1" Name="t" LineColor="255"><Regions>
    <Region Id="1" Type="0" NegativeROA="0"><Vertices><Vertex X="0" Y="0"/><Vertex X="9" Y="0"/>
      <Vertex X="9" Y="9"/><Vertex X="0" Y="9"/></Vertices></Region>
    <Region Id="2" Type="0" NegativeROA="1" InputRegionId="0"><Vertices><Vertex X="1" Y="1"/>
      <Vertex X="3" Y="1"/><Vertex X="3" Y="3"/></Vertices></Region></Regions></Annotation></Annotations>"""
    (shape,) = FORMATS["imagescope"].read(Source("memory", text.encode())).shapes
    assert shape.area_px == 81 - 2
    assert shape.colour == (255, 0, 0)


# ------------------------------------------------------------------ formats that need the slide
def test_ndpa_counts_from_the_centre_of_the_glass(test_data: Path, tmp_path: Path) -> None:
    (path,) = (test_data / "slides" / "hamamatsu").glob("test3-DAPI*.ndpi")
    with open_slide(str(path)) as slide:
        circle = Shape(
            "1", "ellipse", ellipse((60, 50), (9, 9)), "a", properties={"ellipse": [60, 50, 9, 9, 0]}
        )
        drawn = Annotations((SIMPLE, LINE, POINT, circle))
        again = through(drawn, "ndpa", tmp_path, slide=slide)
        for before, after in zip(drawn.shapes, again.shapes, strict=True):
            assert after.kind == before.kind
            error = shapely.get_coordinates(after.geometry) - shapely.get_coordinates(before.geometry)
            assert np.abs(error).max() <= 0.51 / (1000 * slide.require_mpp()) * 2
        # the centre of the picture lies where the file says
        centre = Annotations(
            (Shape("1", "point", shapely.Point(slide.size.width / 2, slide.size.height / 2)),)
        )
        text = centre.write(tmp_path / "c.ndpa", "ndpa", slide=slide).read_text()
        assert re.findall(r"<annotation type.*?<x>(-?\d+)</x>\s*<y>(-?\d+)</y>", text, re.S) == [
            ("12538720", "-96063")
        ]
    with pytest.raises(UsageError, match="centre of the glass"):
        Annotations.read(tmp_path / "ndpa.any")


class FakeSlide:
    """Only a size."""

    id, size, digest = "a", Size(30000, 20000), "abc"


def test_cytomine_counts_from_the_lower_edge(test_data: Path) -> None:
    path = test_data / "annotations" / "wsidicom" / "cytomine" / "cytomine-rectangle.txt"
    drawn = Annotations.read(path, slide=FakeSlide())  # type: ignore[arg-type]
    (shape,) = drawn.shapes
    assert shape.kind == "rectangle"
    assert shape.geometry.bounds == (27600, 20000 - 19360.6875, 28018, 20000 - 18966.6875)
    with pytest.raises(UsageError, match="lower edge"):
        Annotations.read(path)


# ------------------------------------------------------------------ label images, boxes, runs
def test_label_images_keep_grid_and_classes(tmp_path: Path) -> None:
    drawn = Annotations((BOX, Shape("9", "polygon", shapely.box(40, 0, 60, 10), "stroma", (1, 2, 3))))
    grid = Grid(Size(40, 30), 2.5, (-10, 0))
    drawn = Annotations.read(drawn.write(tmp_path / "first.tif", "label-image", grid=grid))
    again = Annotations.read(drawn.write(tmp_path / "second.tif", "label-image", grid=grid))
    assert vertices(again) == vertices(drawn)
    assert again.classes["stroma"] == (1, 2, 3)
    assert drawn.area_px("stroma") == 200


def test_label_images_must_fit_the_slide(tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[5:10, 5:10] = 3
    assert cv2.imwrite(str(tmp_path / "a.png"), labels)
    drawn = Annotations.read(tmp_path / "a.png", slide=FakeSlide())  # type: ignore[arg-type]
    assert [(s.class_name, s.area_px) for s in drawn.shapes] == [("3", 25e6)]
    assert cv2.imwrite(str(tmp_path / "b.png"), labels[:10])
    with pytest.raises(UsageError, match="30 × 10 labels do not fit"):
        Annotations.read(tmp_path / "b.png", slide=FakeSlide())  # type: ignore[arg-type]


def test_voc_counts_from_one() -> None:
    text = b"""<annotation><filename>a.jpg</filename><size><width>9</width>
    <height>8</height><depth>3</depth></size>
    <object><name>cell</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>2</ymax></bndbox></object>
    </annotation>"""
    drawn = FORMATS["voc"].read(Source("memory", text))
    assert drawn.shapes[0].geometry.bounds == (0, 0, 4, 2)
    assert drawn.drawn_on == DrawnOn("a", Size(9, 8))


def test_dsa_as_its_schema_has_it(tmp_path: Path) -> None:
    """Elements as large_image documents them: overlays among them, angles in radians, closed left out."""
    elements: list[dict[str, Any]] = [
        {"type": "point", "center": [123.3, 144.6, -123], "label": {"value": "x", "visibility": "hidden"}},
        {"type": "arrow", "points": [[5, 6, 0], [-17, 6, 0]], "lineColor": "rgba(128, 128, 128, 0.5)"},
        {"type": "heatmap", "points": [[32320, 48416, 0, 0.192]], "radius": 25},
        {"type": "circle", "center": [10.3, -40.0, 0], "radius": 5.3, "fillColor": "#0000fF"},
        {"type": "rectangle", "center": [10, -40, 0], "width": 6, "height": 2, "rotation": np.pi / 2},
        {"type": "polyline", "points": [[5, 6, 0], [-17, 6, 0], [56, -45, 6]], "group": "tumour"},
        {"type": "pixelmap", "girderId": "0" * 24, "values": [1], "categories": []},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"name": "A", "attributes": {"key": 1}, "elements": elements}))
    drawn = Annotations.read(path)
    assert [shape.kind for shape in drawn.shapes] == ["point", "line", "ellipse", "rectangle", "line"]
    assert drawn.shapes[3].geometry.bounds == pytest.approx((9, -43, 11, -37))
    assert drawn.shapes[2].geometry.bounds == pytest.approx((5, -45.3, 15.6, -34.7), abs=0.05)
    assert [note.split(",")[0] for note in drawn.notes] == [
        "element 3 is an overlay (heatmap)",
        "element 7 is an overlay (pixelmap)",
    ]


def test_dsa_is_written_with_no_members_but_those_listed(tmp_path: Path) -> None:
    """The server refuses others: what a shape holds besides goes into ``user`` and comes back."""
    kept = {"measurements": {"area": 4.0}, "isLocked": True, "lineWidth": 3, "user": {"seen": "yes"}}
    shape = replace(SIMPLE, properties=kept)
    path = Annotations((shape,)).write(tmp_path / "a.json", "dsa")
    (element,) = json.loads(path.read_text())["elements"]
    assert set(element) <= {"type", "points", "closed", "group", "label", "lineColor", "lineWidth", "user"}
    assert all(len(point) == 3 for point in element["points"])
    assert Annotations.read(path).shapes[0].properties == kept


def test_coco_as_its_page_has_it(tmp_path: Path) -> None:
    """A set of pictures: polygons of several parts, a crowd as uncompressed runs, boxes alone."""
    images = [{"id": 7, "width": 10, "height": 8, "file_name": "train/a.jpg", "license": 1}]
    categories = [{"id": 3, "name": "cell", "supercategory": "thing"}]
    parts = [[1, 1, 3, 1, 3, 3, 1, 3], [5.5, 5, 7.5, 5, 7.5, 7, 5.5, 7]]
    items: list[dict[str, Any]] = [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": parts, "area": 8.0, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "iscrowd": 1,
         "segmentation": {"size": [8, 10], "counts": [9, 2, 69]}},
        {"id": 3, "image_id": 7, "category_id": 3, "segmentation": [], "bbox": [2, 3, 4, 5], "iscrowd": 0},
    ]  # fmt: skip
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"info": {}, "licenses": [], "images": images, "annotations": items,
                                "categories": categories}))  # fmt: skip
    drawn = Annotations.read(path)
    assert [shape.class_name for shape in drawn.shapes] == ["cell"] * 3
    assert [shape.area_px for shape in drawn.shapes] == [8, 2, 20]
    assert drawn.shapes[1].geometry.bounds == (1, 1, 2, 3)  # down the second column, from its second row
    assert drawn.shapes[2].geometry.bounds == (2, 3, 6, 8)
    assert (drawn.drawn_on.id, drawn.drawn_on.size) == ("a", (10, 8))


def test_a_file_for_many_pictures_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"p{number}" for number in range(3)]
    for name in names:
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((20, 20, 3), np.uint8))
    images = [{"id": i, "width": 20, "height": 20, "file_name": f"{n}.png"} for i, n in enumerate(names)]
    items = [{"id": i, "image_id": i, "category_id": 1, "bbox": [i, 2, 4, 5], "iscrowd": 0} for i in range(3)]
    content = {"images": images, "annotations": items, "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "all.json").write_text(json.dumps(content))
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(1) or loads(text))
    for number, name in enumerate(names):
        with open_slide(tmp_path / f"{name}.png") as slide:
            (shape,) = Annotations.read(tmp_path / "all.json", slide=slide).shapes
        assert shape.geometry.bounds[0] == number
    assert len(parsed) == 1
    (tmp_path / "all.json").write_text(json.dumps({**content, "annotations": []}))
    with open_slide(tmp_path / "p0.png") as slide:
        assert not Annotations.read(tmp_path / "all.json", slide=slide).shapes  # a changed file is read anew


def test_coco_masks_become_polygons_with_holes() -> None:
    mask = np.ones((5, 4), int)
    mask[2, 1] = 0
    runs = [0, 7, 1, 12]
    content = {
        "images": [{"id": 4, "file_name": "b/a.png", "width": 4, "height": 5}],
        "categories": [{"id": 7, "name": "cell"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 7, "segmentation": {"size": [5, 4], "counts": runs}}
        ],
    }
    (shape,) = FORMATS["coco"].read(Source("memory", json.dumps(content).encode())).shapes
    assert (shape.class_name, shape.area_px) == ("cell", 19)
    assert len(shape.polygons[0].interiors) == 1
    assert shape.polygons[0].interiors[0].bounds == (1, 2, 2, 3)


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=12))
def test_coco_runs_against_an_encoder(runs: list[int]) -> None:
    text = ""
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr((bits | 32 if more else bits) + 48)
    assert runs_of(text).tolist() == runs


# ------------------------------------------------------------------ refusals
def test_a_format_says_which_shapes_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)cannot hold 2.*shape 2 \(second, stroma\).*1 hole.*shape 3"):
        Annotations(EVERYTHING).write(tmp_path / "a.xml", "asap")
    assert list(tmp_path.iterdir()) == []
    split = Annotations(EVERYTHING).split()
    again = through(split, "asap", tmp_path)
    assert again.area_px("tumour") == pytest.approx(Annotations(EVERYTHING).area_px("tumour"), rel=1e-12)
    assert len(split.notes) == 2
    boxes = through(Annotations(EVERYTHING[:5]).boxes(), "voc", tmp_path)
    assert len(boxes) == 5


def test_writing_never_replaces_unasked(tmp_path: Path) -> None:
    path = Annotations((BOX,)).write(tmp_path / "a.json", "dsa")
    with pytest.raises(ExistsError):
        Annotations(()).write(path, "dsa")
    assert len(Annotations.read(path)) == 1


def test_not_finite_vertices_are_not_written(tmp_path: Path) -> None:
    odd = Annotations((Shape("7", "polygon", polygon([[0, 0], [1, float("nan")], [1, 1]])),))
    with pytest.raises(GeometryError, match="shape 7"):
        odd.write(tmp_path / "a.json", "geojson")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb">]><ASAP_Annotations>&b;</ASAP_Annotations>',
            "document type",
        ),
        (b"<ASAP_Annotations><Annotations>", "damaged XML"),
        (b'{"type": "FeatureCollection", "features": [', "damaged JSON"),
        (b'{"type": "Feature", "geometry": {"type": "Circle", "coordinates": []}}', "'Circle'"),
        (
            b'{"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], ["x", 3]]}}',
            "'x'",
        ),
        (b'{"positive": [{"name": "a", "vertices": [[1]]}], "negative": []}', "positive shape 1, vertex 0"),
        (b"hello", "no annotation file that is known"),
        (b"\x89PNG\r\n\x1a\nbroken", "damaged PNG"),
        (b"", "no annotation file that is known"),
    ],
)
def test_damaged_files_are_refused_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(words)):
        Annotations.read(path)


def test_unknown_formats_and_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no annotation file"):
        Annotations.read(tmp_path / "none")
    with pytest.raises(UnknownNameError, match="did you mean 'geojson'"):
        Annotations(()).write(tmp_path / "a", "geojsn")
