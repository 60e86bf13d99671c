"""GeoJSON of objects: valid, complete, readable by the reader of annotations, in bounded memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely import MultiPolygon, Polygon, box

from coverslip.annotations import Annotations
from coverslip.core.errors import ExistsError, UnknownNameError, UsageError
from coverslip.interop import ObjectsGeoJSON, write_geojson
from coverslip.interop import geojson as module
from coverslip.interop.export import export
from coverslip.store import ObjectTable, Provenance, RunFolder
from coverslip.store.query import Query

HOLE = Polygon(box(0, 0, 9, 9).exterior, [box(1, 1, 2.123456, 2).exterior])
TWO = MultiPolygon([box(20, 0, 21, 1), box(30.5, 0, 31.25, 1)])


def table(**more: object) -> ObjectTable:
    return ObjectTable(
        [HOLE, TWO, box(5, 5, 6, 6)],
        classes=("tumour", 'stroma "x" 100 %'),
        labels=np.array([1, 0, -1]),
        measurements={"area_um2": np.array([1.5, np.nan, 2]), "mean, 50 %": np.array([1, 2, 3e-9])},
        **more,
    )


def test_every_object_comes_out(tmp_path: Path) -> None:
    how = ObjectsGeoJSON(colours={"tumour": (1, 2, 3)}, decimals=3)
    assert write_geojson(table(scores=[0.5, 0.25, np.nan]), tmp_path / "a.geojson", how) == 3
    said = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))
    assert said["type"] == "FeatureCollection"
    one, two, three = said["features"]
    assert one["geometry"]["coordinates"][1][0] == [1, 1] or one["geometry"]["type"] == "Polygon"
    assert shapely.from_geojson(json.dumps(one["geometry"])).equals_exact(HOLE, 5e-4)
    assert shapely.from_geojson(json.dumps(two["geometry"])).equals(TWO)
    assert one["properties"] == {
        "objectType": "detection",
        "classification": {"name": 'stroma "x" 100 %', "color": list(module.PALETTE[1])},
        "measurements": {"score": 0.5, "area_um2": 1.5, "mean, 50 %": 1},
    }
    assert two["properties"]["classification"]["color"] == [1, 2, 3]
    assert two["properties"]["measurements"] == {"score": 0.25, "mean, 50 %": 2}
    assert "classification" not in three["properties"]
    assert three["properties"]["measurements"] == {"area_um2": 2, "mean, 50 %": pytest.approx(3e-9)}


def test_our_own_reader_reads_it(tmp_path: Path) -> None:
    write_geojson(table(), tmp_path / "a.geojson", ObjectsGeoJSON("annotation"))
    drawn = Annotations.read(tmp_path / "a.geojson")
    assert [shape.class_name for shape in drawn.shapes] == ['stroma "x" 100 %', "tumour", None]
    assert drawn.shapes[1].geometry.equals(TWO)


def test_gzip_is_the_same_and_always_the_same_bytes(tmp_path: Path) -> None:
    write_geojson(table(), tmp_path / "a.geojson")
    write_geojson(table(), tmp_path / "a.geojson.gz")
    write_geojson(table(), tmp_path / "b.geojson.gz")
    assert gzip.decompress((tmp_path / "a.geojson.gz").read_bytes()) == (tmp_path / "a.geojson").read_bytes()
    assert (tmp_path / "a.geojson.gz").read_bytes() == (tmp_path / "b.geojson.gz").read_bytes()


def test_which_measurements_go_along(tmp_path: Path) -> None:
    write_geojson(table(), tmp_path / "a.geojson", ObjectsGeoJSON(measurements=()))
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert all("measurements" not in feature["properties"] for feature in features)
    with pytest.raises(UnknownNameError, match="area_um2"):
        write_geojson(table(), tmp_path / "b.geojson", ObjectsGeoJSON(measurements=("area_um",)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.geojson"]
    with pytest.raises(UsageError, match="decimals"):
        ObjectsGeoJSON(decimals=-1)


def test_nothing_is_a_collection_too(tmp_path: Path) -> None:
    write_geojson(table().take(slice(0, 0)), tmp_path / "a.geojson")
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []


# ------------------------------------------------------------------ runs
def many(n: int) -> ObjectTable:
    x, y = np.divmod(np.arange(n) * 7.0, 5000)
    squares = shapely.box(x, y, x + 5, y + 5)
    labels = np.arange(n) % 2
    return ObjectTable(squares, classes=("a", "b"), labels=labels, measurements={"area_um2": labels * 10.0})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("a", 1, parameters={}, inputs={}, slide=None)
    for slide, n in (("s1", 30), ("s2", 10)):
        run.put(slide, "objects/nuclei", many(n), provenance=made)
    return run


def test_a_run_is_exported(run: RunFolder, tmp_path: Path) -> None:
    found = list(export(Query(run), tmp_path / "out", "geojson", zipped=True))
    assert [(p.name, n) for p, n in found] == [("s1.nuclei.geojson.gz", 30), ("s2.nuclei.geojson.gz", 10)]
    with pytest.raises(ExistsError, match="there already"):
        list(export(Query(run), tmp_path / "out", "geojson", zipped=True))
    ((path, count),) = export(Query(run, where="class == 'a' and slide == 's2'"), tmp_path / "b", "geojson")
    assert (path.name, count) == ("s2.nuclei.geojson", 5)
    features = json.loads(path.read_text())["features"]
    assert {f["properties"]["classification"]["name"] for f in features} == {"a"}
    ((path, count),) = export(Query(run), tmp_path / "out", "csv")
    assert (path.name, count) == ("nuclei.csv", 40)
    assert path.read_text().splitlines()[0] == "slide,object,class,score,x,y,area_um2"
    ((path, count),) = export(Query(run, where="area_um2 > 5"), tmp_path / "out", "parquet")
    assert (path.name, count) == ("nuclei.parquet", 20)


def test_memory_does_not_grow_with_the_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coverslip.store.kinds.objects.ROWS", 2000)
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("a", 1, parameters={}, inputs={}, slide=None)
    peaks = []
    for n in (4000, 20_000):
        run.put("s", "objects/nuclei", many(n), provenance=made, replace=True)
        tracemalloc.start()
        assert write_geojson(run.get("s", "objects/nuclei"), tmp_path / "a.geojson") == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
