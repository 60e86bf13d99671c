"""Objects on disk: GeoParquet, read by row group and by box, streamed part by part, resumed after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from shapely import MultiPolygon, Point, Polygon, box

from coverslip.core.errors import GeometryError, StoreError, UnknownNameError, UsageError
from coverslip.core.geometry import Box
from coverslip.store import Objects, ObjectStream, ObjectTable, Provenance, RunFolder, Table
from coverslip.store.kinds import object_parts
from coverslip.store.kinds.arrow import as_numpy
from coverslip.store.kinds.objects import _codes

KEY = "objects/nuclei"
CLASSES = ("tumour", "stroma")


def made(**parameters: object) -> Provenance:
    return Provenance.make("nuclei", 1, parameters=parameters, inputs={}, slide=None)


def table(n: int, at: float = 0.0, **more: object) -> ObjectTable:
    x = np.arange(n) * 10.0
    y = np.full(n, at)
    return ObjectTable(
        shapely.box(x, y, x + 4, y + 2),
        classes=CLASSES,
        labels=np.arange(n) % 3 - 1,
        scores=np.linspace(0, 1, n),
        measurements={"area_um2": np.full(n, 8.0), "haematoxylin": x},
        mpp=0.25,
        **more,
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def put(run: RunFolder, value: object) -> Objects:
    run.put("s", KEY, value, provenance=made(), replace=True)
    return run.get("s", KEY)


# ------------------------------------------------------------------ in memory
def test_a_table_says_what_is_wrong_with_it() -> None:
    with pytest.raises(GeometryError, match="object 1 is POINT"):
        ObjectTable([box(0, 0, 1, 1), Point(0, 0)])
    with pytest.raises(GeometryError, match="object 0 is POLYGON EMPTY"):
        ObjectTable([Polygon()])
    with pytest.raises(StoreError, match=r"area_um2.*\(2,\)"):
        ObjectTable([box(0, 0, 1, 1)], measurements={"area_um2": np.zeros(2)})
    with pytest.raises(StoreError, match="cannot be called x"):
        ObjectTable([box(0, 0, 1, 1)], measurements={"x": np.zeros(1)})
    with pytest.raises(StoreError, match="do not fit 1 class"):
        ObjectTable([box(0, 0, 1, 1)], classes=("a",), labels=np.array([1]))
    with pytest.raises(UnknownNameError, match="area_um2"):
        table(1)["area_um"]


def test_taking_some_objects_keeps_their_numbers() -> None:
    some = table(6).where(np.array([0, 1, 0, 1, 1, 0], bool))
    assert some["object"].tolist() == [1, 3, 4]
    assert some["class"].tolist() == ["tumour", None, "tumour"]
    assert some.xy[:, 0].tolist() == [12, 32, 42]


# ------------------------------------------------------------------ files
def test_the_file_is_geoparquet(run: RunFolder) -> None:
    hole = Polygon(box(0, 0, 9, 9).exterior, [box(1, 1, 2, 2).exterior])
    two = MultiPolygon([box(20, 0, 21, 1), box(30, 0, 31.1, 1)])
    objects = put(run, ObjectTable([hole, two], classes=("gland",), notes={"model": "m"}))
    path = run.path_of("s", KEY)
    geo = json.loads(parquet.read_metadata(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["crs"], column["bbox"]) == (
        "WKB",
        None,
        pytest.approx([0, 0, 31.1, 9]),
    )
    assert column["geometry_types"] == ["MultiPolygon", "Polygon"]
    bbox = parquet.read_table(path)["bbox"].to_pylist()[1]
    assert bbox["xmax"] >= 31.1
    assert bbox["xmax"] == pytest.approx(31.1, abs=1e-5)
    assert [p.wkt for p in objects.read().polygons] == [hole.wkt, two.wkt]
    assert objects["class"].tolist() == ["gland", "gland"]
    assert objects.notes == {"model": "m"}


def test_other_software_reads_it(run: RunFolder) -> None:
    duckdb = pytest.importorskip("duckdb")
    put(run, table(9))
    path = str(run.path_of("s", KEY))
    found = duckdb.sql(f"select class, count(*) from '{path}' group by 1 order by 1").fetchall()  # noqa: S608
    assert found == [("stroma", 3), ("tumour", 3), (None, 3)]


def test_no_objects_is_a_result(run: RunFolder) -> None:
    empty = table(3).take(slice(0, 0))
    objects = put(run, empty)
    assert len(objects) == len(objects.read()) == len(objects["area_um2"]) == 0
    assert objects.measurements == ("area_um2", "haematoxylin")
    assert list(objects.batches()) == []
    assert len(objects.within(Box(0, 0, 1, 1))) == 0


def test_reading_by_row_group_mask_and_box(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coverslip.store.kinds.objects.ROWS", 10)
    objects = put(run, table(35))
    assert [len(part) for part in objects.batches()] == [10, 10, 10, 5]
    assert objects["object"].tolist() == list(range(35))
    some = objects.where(objects["haematoxylin"] > 195).where(np.arange(15) % 2 == 0)
    assert some["object"].tolist() == list(range(20, 35, 2))
    assert [len(part) for part in some.batches()] == [5, 3]
    assert some.read()["object"].tolist() == list(range(20, 35, 2))
    assert objects.within(Box(42, 1, 10, 50))["object"].tolist() == [4, 5]
    assert some.within(Box(195, 0, 30, 1))["object"].tolist() == [20, 22]
    assert put(run, some)["object"].tolist() == list(range(20, 35, 2))  # written again, numbers stay
    with pytest.raises(UsageError, match="does not fit"):
        objects.where(np.ones(3, bool))
    with pytest.raises(UnknownNameError):
        objects["area"]


def test_columns_become_arrays_whatever_lies_in_them() -> None:
    column = pa.chunked_array([[1, None], [3]], pa.int32())
    assert as_numpy(pa.chunked_array([[1, 2], [], [3]], pa.int16())).dtype == np.int16
    assert as_numpy(pa.chunked_array([], pa.float32())).shape == (0,)
    assert np.isnan(as_numpy(column)[1])
    assert as_numpy(pa.chunked_array([[b"a", b"bc"]])).tolist() == [b"a", b"bc"]
    assert as_numpy(pa.chunked_array([[True, False]])).tolist() == [True, False]
    assert as_numpy(pa.chunked_array([["a", None]])).tolist() == ["a", None]


def test_classes_of_another_writer_are_read() -> None:
    names = [pa.array(["a", None, "c"]), pa.array(["b", "a"]).dictionary_encode()]
    assert _codes(pa.chunked_array([names[0]]), ("a", "b")).tolist() == [0, -1, -1]
    assert _codes(pa.chunked_array([names[1].slice(1)]), ("a", "b")).tolist() == [0]


def test_a_table_without_polygons_is_refused(run: RunFolder) -> None:
    with pytest.raises(StoreError, match="expected an ObjectTable"):
        put(run, Table({"x": np.zeros(1)}))


# ------------------------------------------------------------------ streams
def parts(sizes: list[int], start: int = 0) -> Iterator[ObjectTable]:
    for number, size in enumerate(sizes):
        if number >= start:
            yield table(size, at=100.0 * number)


def stream(sizes: list[int], start: int = 0, **more: object) -> ObjectStream:
    return ObjectStream(parts(sizes, start), n=len(sizes), classes=CLASSES, mpp=0.25, **more)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=6), st.integers(2, 9), st.integers(0, 6))
def test_a_stream_in_any_pieces_gives_the_same_file(sizes: list[int], rows: int, stop: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_parts, "ROWS", rows)
        run = RunFolder.create(Path(folder) / "run")
        stop = min(stop, len(sizes))
        if stop < len(sizes):
            with pytest.raises(StoreError, match="ended after"):
                put(run, ObjectStream(parts(sizes[:stop]), n=len(sizes), classes=CLASSES, mpp=0.25))
            assert run.kept("s", KEY, made().fingerprint) == stop
            assert run.kept("s", KEY, made(other=1).fingerprint) == 0
        names = ("area_um2", "haematoxylin")
        start = stop % max(1, len(sizes))
        objects = put(run, stream(sizes, start, measurements=names, notes={"a": 1}))
        expected = stream(sizes, measurements=names).collect()
        assert objects["object"].tolist() == list(range(sum(sizes)))
        for name in expected.columns:
            assert np.array_equal(objects[name], expected[name])
        assert shapely.equals(objects.read().polygons, expected.polygons).all()
        assert (objects.classes, objects.mpp, objects.notes) == (CLASSES, 0.25, {"a": 1})
        assert [p.name for p in run.path_of("s", KEY).parent.iterdir()] == ["nuclei.parquet"]


def test_a_stream_that_brings_too_much_or_another_thing_is_refused(run: RunFolder) -> None:
    with pytest.raises(StoreError, match="more than its 1 part"):
        put(run, ObjectStream(parts([1, 1]), n=1, classes=CLASSES))
    run.path_of("s", KEY).parent.rename(run.path / "elsewhere")
    with pytest.raises(StoreError, match="classes"):
        put(run, ObjectStream(parts([1]), n=1, classes=("other",)))
    odd = iter([table(1), ObjectTable([box(0, 0, 1, 1)], classes=CLASSES)])
    with pytest.raises(StoreError, match="measures"):
        put(run, ObjectStream(odd, n=2, classes=CLASSES))
    with pytest.raises(StoreError, match="cannot be streamed"):
        run.put("s", "tables/a", stream([1]), provenance=made())


def test_a_killed_writer_leaves_whole_parts(run: RunFolder) -> None:
    code = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_objects import *
        def killing():
            yield from parts([5, 5, 5])
            os.kill(os.getpid(), signal.SIGKILL)
        stream = ObjectStream(killing(), n=9, classes=CLASSES)
        RunFolder({str(run.path)!r}).put("s", KEY, stream, provenance=made())
    """)
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr.decode()
    assert not run.has("s", KEY)
    run.sweep("s")
    assert run.kept("s", KEY, made().fingerprint) == 3
    folder = next(run.path_of("s", KEY).parent.iterdir())
    (folder / "part-000002.parquet").write_bytes(b"PAR1 cut short")
    assert run.kept("s", KEY, made().fingerprint) == 2
    objects = put(run, stream([5] * 9, start=2))
    assert objects["y"].tolist() == np.repeat(np.arange(9) * 100.0 + 1, 5).tolist()


def test_memory_does_not_grow_with_the_slide(run: RunFolder) -> None:
    import tracemalloc

    tracemalloc.start()
    put(run, stream([2000] * 3))
    few = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    put(run, stream([2000] * 15))
    assert tracemalloc.get_traced_memory()[1] < 1.5 * few
    tracemalloc.stop()
