"""Layers over a slide: what is drawn is what the run holds, where it holds it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coverslip.core import Box
from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.pipeline import Recipe, run_recipe
from coverslip.server import Library
from coverslip.server.access import TokenDoor
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database
from coverslip.server.overlays.objects import TILE, Filter, ObjectIndex
from coverslip.server.overlays.outlines import Rings
from coverslip.server.overlays.paint import SCALES, painted, scale
from coverslip.slides import find_slides
from coverslip.store import LabelMap, Provenance, RunFolder
from coverslip.store.kinds.objects import Objects
from coverslip.store.objects import ObjectTable

SLIDE = "/api/slides/a%20slide"


def squares(n: int = 4000, seed: int = 0) -> ObjectTable:
    rng = np.random.default_rng(seed)
    xy = rng.uniform((-300, 0), (6000, 4000), (n, 2))
    side = rng.uniform(4, 12, n)
    return ObjectTable(
        shapely.box(xy[:, 0], xy[:, 1], xy[:, 0] + side, xy[:, 1] + side),
        classes=("tumour", "lymphocyte"),
        labels=rng.integers(-1, 2, n).astype(np.int32),
        scores=rng.uniform(0, 1, n).astype(np.float32),
        measurements={"area_um2": (side**2 * 0.25).astype(np.float32)},
        mpp=0.5,
    )


def put(run: RunFolder, key: str, value: object) -> None:
    run.put(
        "a slide", key, value, provenance=Provenance.make("test", 1, parameters={}, inputs={}, slide=None)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, slide_path: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("viewed") / "run"
    recipe = Recipe.from_dict({"stages": ["tissue", "quality", {"tiles": {"size": 256, "min_tissue": 0.0}}]})
    run_recipe(recipe, find_slides([str(slide_path)]), folder)
    made = RunFolder(folder)
    put(made, "objects/nuclei", squares())
    labels = np.zeros((300, 420), np.uint8)
    labels[10:20, 100:130] = 2
    put(made, "maps/regions", LabelMap(labels, 5.0, (10.0, 20.0), ("stroma", "tumour"), 0.5))
    return made


@pytest.fixture(scope="module")
def index(run: RunFolder) -> ObjectIndex:
    return ObjectIndex(Objects(run.path_of("a slide", "objects/nuclei")))


@pytest.fixture
def viewed(run: RunFolder, database: Database) -> Iterator[TestClient]:
    app = make_app(Site(Library.of([str(run.path)]), database, TokenDoor("x"), hosts=None))
    with TestClient(app, headers={"Authorization": "Bearer x"}) as client:
        yield client


# ---------------------------------------------------------------------- objects
coordinate = st.floats(-1000, 7000)


@settings(max_examples=60, deadline=None)
@given(x=coordinate, y=coordinate, width=st.floats(1, 5000), height=st.floats(1, 5000))
def test_a_box_holds_the_objects_that_lie_in_it(
    index: ObjectIndex, x: float, y: float, width: float, height: float
) -> None:
    box = Box(x, y, width, height)
    inside = (index.xy >= (box.x, box.y)).all(axis=1) & (index.xy < (box.right, box.bottom)).all(axis=1)
    assert sorted(index.rows_in(box)) == np.flatnonzero(inside).tolist()


def test_index_keeps_what_the_file_says(index: ObjectIndex) -> None:
    table = squares()
    assert np.allclose(index.xy, table.xy[index.order], atol=0.01)
    assert (index.codes == table.codes[index.order]).all()
    assert np.allclose(index.values("area_um2"), table.measurements["area_um2"][index.order])


def test_every_object_is_drawn_once(index: ObjectIndex) -> None:
    seen = 0
    step = 4.0
    for row in range(-1, 3):
        for column in range(-1, 4):
            rgba = np.asarray(Image.open(io.BytesIO(index.drawn((column, row), step, Filter()))))
            assert rgba.shape == (TILE, TILE, 4)
            seen += int((rgba[..., 3] > 0).sum())
    distinct = len(np.unique(np.floor(index.xy / step), axis=0))
    assert seen == distinct


def test_a_filter_counts_draws_and_outlines_the_same(index: ObjectIndex) -> None:
    chosen = Filter.parse("tumour", ["area_um2:10:20", "score:0.5:"])
    table = squares()
    area, score = table.measurements["area_um2"], table.scores
    keep = (table.codes == 0) & (area >= 10) & (area <= 20) & (score >= 0.5)
    assert index.facts(chosen)["kept"] == keep.sum()
    whole = index.polygons(Box(-1000, -1000, 9000, 9000), chosen)
    assert sorted(whole["ids"]) == np.flatnonzero(keep).tolist()
    histogram = index.histogram("area_um2", chosen)
    assert sum(histogram["all"]) == len(table)
    assert sum(histogram["kept"]) == keep.sum()


def test_an_object_is_found_by_a_click(index: ObjectIndex) -> None:
    table = squares()
    x, y = table.xy[17]
    found = index.at(float(x), float(y))
    assert found is not None
    at = shapely.box(*table.polygons[found["object"]].bounds)
    assert shapely.intersects_xy(at, x, y)
    assert found["measurements"]["area_um2"] == pytest.approx(at.area * 0.25, rel=1e-3)
    assert index.at(-5000, -5000) is None


def test_wrong_filters_are_refused(index: ObjectIndex) -> None:
    for text in ("area_um2", "area_um2:1", "area_um2:a:b"):
        with pytest.raises(UsageError, match="is no range"):
            Filter.parse(None, [text])
    with pytest.raises(UnknownNameError, match="tumor"):
        index.kept(Filter(("tumor",)))
    with pytest.raises(UnknownNameError, match="area"):
        index.kept(Filter(None, {"area": (0, 1)}))


# ---------------------------------------------------------------------- over HTTP
def test_layers_are_listed(viewed: TestClient) -> None:
    found = viewed.get(f"{SLIDE}/overlays").json()
    assert found["objects"] == ["nuclei"]
    assert found["tissue"]
    assert found["tiles"]
    (layer,) = found["maps"]
    assert (layer["x"], layer["y"], layer["levels"][0]) == (
        10,
        20,
        {"width": 420, "height": 300, "downsample": 5},
    )


def test_a_broken_map_does_not_hide_the_others(run: RunFolder, viewed: TestClient) -> None:
    broken = run.path_of("a slide", "maps/broken")
    broken.mkdir()
    try:
        found = viewed.get(f"{SLIDE}/overlays").json()
    finally:
        broken.rmdir()
    assert [layer["name"] for layer in found["maps"]] == ["regions"]
    assert "broken" in found["problems"][0]


def test_map_tiles_show_labels_in_class_colours(viewed: TestClient) -> None:
    answer = viewed.get(f"{SLIDE}/maps/regions/tiles/0/0/0")
    rgba = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert rgba.shape == (300, 420, 4)
    shown = np.argwhere(rgba[..., 3] > 0)
    assert shown.min(axis=0).tolist() == [10, 100]
    assert shown.max(axis=0).tolist() == [19, 129]
    colour = viewed.get(f"{SLIDE}/overlays").json()["maps"][0]["classes"][1]["colour"]
    assert bytes(rgba[12, 110, :3]).hex().upper() == colour


def test_tissue_and_grid(viewed: TestClient, run: RunFolder) -> None:
    assert viewed.get(f"{SLIDE}/tissue").json()["geometry"]["type"] == "MultiPolygon"
    grid = viewed.get(f"{SLIDE}/grid").json()
    assert grid["xy"] == run.get("a slide", "tiles").xy.tolist()
    assert grid["side"] == 256


@pytest.mark.parametrize(
    "address",
    [
        "maps/none/tiles/0/0/0", "maps/regions/tiles/7/0/0", "maps/regions/tiles/0/9/9", "objects/none",
        "maps/regions/tiles/0/0/0?class=no", "objects/nuclei?classes=tumor", "objects/nuclei?range=a:1:2",
        "objects/nuclei/outlines?x=0&y=0&width=9&height=9&classes=tumor",
        "objects/nuclei/outlines?x=0&y=0&width=9&height=9&range=a:1:2",
        "objects/nuclei/histogram?measurement=no", "grid?name=none", "objects/nuclei/at?x=-9999&y=-9999",
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(viewed: TestClient, address: str) -> None:
    answer = viewed.get(f"{SLIDE}/{address}")
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_objects_over_http(viewed: TestClient) -> None:
    facts = viewed.get(f"{SLIDE}/objects/nuclei", params={"classes": "tumour"}).json()
    assert facts["count"] == 4000
    assert 0 < facts["kept"] < 4000
    outlines = viewed.get(f"{SLIDE}/objects/nuclei/outlines?x=0&y=0&width=500&height=500").json()
    assert len(outlines["ids"]) == len(outlines["rings"]) > 10
    assert viewed.get(f"{SLIDE}/objects/nuclei/tiles/8/0/0").headers["content-type"] == "image/png"


# ---------------------------------------------------------------------- outlines
def as_arrow(polygons: list[object]) -> object:
    import pyarrow as pa

    return pa.array([shapely.to_wkb(one) for one in polygons], pa.binary())


HOLED = shapely.Polygon(shapely.box(0, 0, 9, 9).exterior, [shapely.box(2, 2, 4, 4).exterior])
TWO = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 3, 5, 5)])


@pytest.mark.parametrize(
    "polygons",
    [
        [shapely.box(0, 0, 1, 2), shapely.Point(5, 5).buffer(3), shapely.box(-4, 1, 2, 7)],
        [shapely.box(0, 0, 1, 2), HOLED],
        [TWO, shapely.box(0, 0, 1, 2)],
        [shapely.Polygon(), shapely.box(0, 0, 1, 2)],
        [],
    ],
    ids=["plain", "holed", "several", "empty", "none"],
)
def test_outlines_are_read_as_they_were_written(polygons: list[object]) -> None:
    wkb = as_arrow(polygons)
    found, wanted = Rings.read(wkb, 7), Rings.made(np.array(polygons, object), 7)
    for name in ("rows", "xy", "ends", "of"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
        assert getattr(found, name).dtype == getattr(wanted, name).dtype
    if not polygons:
        return
    rest, of_rest = Rings.read(wkb.slice(1), 8), Rings.made(np.array(polygons[1:], object), 8)
    assert np.array_equal(rest.xy, of_rest.xy)
    assert np.array_equal(rest.rows, of_rest.rows)


# ---------------------------------------------------------------------- colours
@pytest.mark.parametrize("name", SCALES)
def test_lightness_of_a_scale_grows(name: str) -> None:
    import cv2

    lightness = cv2.cvtColor(scale(name)[None], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(lightness) >= -1).all()
    assert lightness[-1] - lightness[0] > 100


def test_what_lies_below_the_threshold_is_clear() -> None:
    rgba = painted(np.array([[0.1, 0.3, 0.9, 2.0]], np.float32), "viridis", 0.3, 0.9)
    assert rgba[0, :, 3].tolist() == [0, 255, 255, 255]
    assert (rgba[0, 2] == rgba[0, 3]).all()
