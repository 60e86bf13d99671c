"""Results on disk: whole, typed, with provenance, never overwritten by accident."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely import Polygon, box

from coverslip.core import Size
from coverslip.core.errors import ExistsError, StoreError, UnknownNameError, UsageError
from coverslip.stain.matrices import RUIFROK_JOHNSTON
from coverslip.store import (
    Features,
    GradedTiles,
    LabelMap,
    Objects,
    ObjectTable,
    Provenance,
    RunFolder,
    SlideRoot,
    SlideStain,
    Table,
    fingerprint,
)
from coverslip.tiles.grid import GridSpec
from coverslip.tissue.tissue import Tissue

ROOT = SlideRoot("sha256s1:00", 4000, 3000, "tiff", 0.5, "file")


def made(stage: str = "example", **parameters: object) -> Provenance:
    return Provenance.make(stage, 1, parameters=parameters, inputs={"slide": "f00"}, slide=ROOT)


def some_tiles(n: int = 6) -> GradedTiles:
    xy = np.stack([np.arange(n) * 256, np.arange(n) * 7], axis=1).astype(np.int32)
    rows, columns = np.divmod(np.arange(n, dtype=np.int32), np.int32(3))
    share = np.linspace(0.5, 1, n).astype(np.float32)
    quality = {"blur": share * 0, "usable": share}
    return GradedTiles(xy, GridSpec(size=256), 0.5, 1.0, share, columns, rows, quality=quality)


def some_tissue() -> Tissue:
    ring = Polygon(box(100, 100, 2000, 1500).exterior, [box(500, 500, 800, 800).exterior])
    return Tissue.from_polygons(
        [ring, box(2500, 100, 2900, 900)], Size(4000, 3000), 16, notes=("pen left out",)
    )


def some_features(n: int = 5) -> Features:
    values = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    values[2] = np.nan
    coords = np.arange(2 * n, dtype=np.int32).reshape(n, 2)
    return Features(values, coords, "pathomics", names=("a", "b", "c"), tile_px=256, tile_side=256.5, mpp=0.5)


VALUES = {
    "slide": {"width": 4000, "mpp": None, "path": "/data/ä.svs"},
    "thumbnail": np.full((30, 40, 3), 200, np.uint8),
    "tissue": some_tissue(),
    "tiles": some_tiles(),
    "stain": SlideStain("macenko", RUIFROK_JOHNSTON["H&E"], tiles=40),
    "features/pathomics": some_features(),
    "predictions/lookalike": Table({"tile": np.arange(3), "label": np.array(["a", "b", "a"])}, {"k": 2}),
    "objects/nuclei": ObjectTable([box(0, 0, 2, 2), box(4, 4, 6, 6)], measurements={"area_um2": [1, 4]}),
    "maps/lookalike": LabelMap(np.arange(12, dtype=np.uint8).reshape(3, 4), 256.0, (10.0, 20.0), ("a",), 0.5),
    "page": "<!doctype html>\n<html><body>-- page --</body></html>",
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


# ------------------------------------------------------------------ round trips
@pytest.mark.parametrize("key", VALUES)
def test_what_is_put_comes_back(run: RunFolder, key: str) -> None:
    provenance = made(size=256)
    run.put("a slide", key, VALUES[key], provenance=provenance)
    assert run.keys("a slide") == (key,)
    assert run.has("a slide", key)
    assert run.provenance("a slide", key) == provenance
    assert_same(run.get("a slide", key), VALUES[key])


def assert_same(got: object, expected: object) -> None:
    if isinstance(expected, np.ndarray):
        assert np.abs(got.astype(int) - expected).max() <= 2
    elif isinstance(expected, Tissue):
        assert np.array_equal(got.mask, expected.mask)
        assert [p.wkt for p in got.polygons] == [p.wkt for p in expected.polygons]
        assert (got.downsample, got.method, got.notes) == (
            expected.downsample,
            expected.method,
            expected.notes,
        )
    elif isinstance(expected, GradedTiles):
        for name in ("xy", "tissue", "columns", "rows"):
            assert np.array_equal(getattr(got, name), getattr(expected, name))
        assert (got.spec, got.mpp, got.downsample) == (expected.spec, expected.mpp, expected.downsample)
        assert {k: v.tolist() for k, v in got.quality.items()} == {
            k: v.tolist() for k, v in expected.quality.items()
        }
    elif isinstance(expected, Features):
        assert np.array_equal(got.X, expected.X, equal_nan=True)
        assert got.X.dtype == expected.X.dtype
        assert np.array_equal(got.coords, expected.coords)
        for name in ("encoder", "names", "tile_px", "tile_side", "mpp"):
            assert getattr(got, name) == getattr(expected, name)
    elif isinstance(expected, ObjectTable):
        assert isinstance(got, Objects)
        assert {k: got[k].tolist() for k in got.columns if k != "score"} == {
            k: expected[k].tolist() for k in expected.columns if k != "score"
        }
        assert [p.wkt for p in got.read().polygons] == [p.wkt for p in expected.polygons]
    elif isinstance(expected, Table):
        assert {k: list(v) for k, v in got.columns.items()} == {
            k: list(v) for k, v in expected.columns.items()
        }
        assert got.notes == expected.notes
    elif isinstance(expected, LabelMap):
        assert np.array_equal(got.labels, expected.labels)
        assert (got.downsample, got.origin, got.names, got.mpp) == (256.0, (10.0, 20.0), ("a",), 0.5)
    elif isinstance(expected, SlideStain):
        assert (got.method, got.tiles, got.stains.names) == ("macenko", 40, ("haematoxylin", "eosin"))
        assert np.allclose(got.stains.array, expected.stains.array, rtol=0, atol=1e-12)
    else:
        assert got == expected


def test_files_lie_where_the_format_says(run: RunFolder) -> None:
    for key, value in VALUES.items():
        run.put("s", key, value, provenance=made())
    found = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}
    found = {name.partition(".ome.zarr")[0] + (".ome.zarr" if ".ome.zarr" in name else "") for name in found}
    assert found == {
        "run.json",
        "report/slides/s.html",
        *(
            f"slides/s/{name}"
            for name in (
                "slide.json", "thumbnail.jpg", "tissue.geojson", "tiles.parquet", "stain.json",
                "features/pathomics.h5", "predictions/lookalike.parquet", "objects/nuclei.parquet",
                "maps/lookalike.ome.zarr",
            )
        ),
    }  # fmt: skip
    assert set(run.keys("s")) == set(VALUES)


def test_features_are_laid_out_as_clam_and_trident_read_them(run: RunFolder) -> None:
    h5py = pytest.importorskip("h5py")
    run.put("s", "features/pathomics", some_features(), provenance=made())
    with h5py.File(run.path_of("s", "features/pathomics"), "r") as file:
        assert file["features"].shape == (5, 3)
        assert file["coords"].shape == (5, 2)
        assert file["coords"].attrs["patch_size"] == 256
        assert file["coords"].attrs["patch_size_level0"] == 256
        assert json.loads(file.attrs["coverslip"])["type"] == "features"


def test_tissue_is_geojson_that_others_read(run: RunFolder) -> None:
    run.put("s", "tissue", some_tissue(), provenance=made())
    data = json.loads(run.path_of("s", "tissue").read_text())
    assert data["type"] == "FeatureCollection"
    assert [f["geometry"]["type"] for f in data["features"]] == ["Polygon", "Polygon"]
    assert len(data["features"][0]["geometry"]["coordinates"]) == 2


def test_map_is_ome_zarr(run: RunFolder) -> None:
    run.put("s", "maps/m", VALUES["maps/lookalike"], provenance=made())
    ome = json.loads((run.path_of("s", "maps/m") / ".zattrs").read_text())
    assert ome["multiscales"][0]["version"] == ome["image-label"]["version"] == "0.4"
    scale, shift = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], shift["translation"]) == ([128.0, 128.0], [10.0, 5.0])


# ------------------------------------------------------------------ provenance
def test_every_file_says_where_it_comes_from(run: RunFolder) -> None:
    for key, value in VALUES.items():
        run.put("s", key, value, provenance=made(size=7))
        found = run.provenance("s", key)
        assert (found.stage, found.stage_version, found.parameters) == ("example", 1, {"size": 7})
        assert (found.slide, found.inputs) == (ROOT, {"slide": "f00"})
        assert found.coverslip
        assert found.time.endswith("+00:00")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.booleans() | st.none() | st.text(max_size=3)))
def test_fingerprint_ignores_order_and_time(parameters: dict) -> None:
    backwards = dict(reversed(parameters.items()))
    one = Provenance.make("s", 1, parameters=parameters, inputs={}, slide=ROOT)
    two = Provenance.make("s", 1, parameters=backwards, inputs={}, slide=ROOT)
    assert one.fingerprint == two.fingerprint
    assert Provenance.from_dict(json.loads(json.dumps(one.to_dict()))).fingerprint == one.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"stage": "b"}, {"version": 2}, {"parameters": {"size": 2}}, {"inputs": {"tissue": "x"}},
        {"slide": SlideRoot("sha256s1:01", 4000, 3000, "tiff", 0.5, "file")},
        {"slide": SlideRoot("sha256s1:00", 4000, 3000, "tiff", 0.5, "user")},
        {"slide": SlideRoot("sha256s1:00", 4000, 3000, "openslide", 0.5, "file")},
        {"slide": SlideRoot("sha256s1:00", 4000, 3000, "tiff", 0.25, "file")},
    ],
)  # fmt: skip
def test_fingerprint_changes_with_everything_that_counts(other: dict) -> None:
    base = {"stage": "a", "version": 1, "parameters": {"size": 1}, "inputs": {}, "slide": ROOT}

    def mark(stage: str, version: int, **rest: object) -> str:
        return Provenance.make(stage, version, **rest).fingerprint

    assert mark(**base) != mark(**(base | other))


def test_fingerprint_of_these_values_never_changes() -> None:
    # a change here makes every result on every user's disk stale
    assert fingerprint("tiles", 1, {"size": 256, "mpp": 0.5}) == "32e637a081f1fbf466d2846cb6b0f106"


# ------------------------------------------------------------------ refusals
def test_nothing_is_overwritten_silently(run: RunFolder) -> None:
    run.put("s", "slide", {"a": 1}, provenance=made())
    with pytest.raises(ExistsError, match="is there already"):
        run.put("s", "slide", {"a": 2}, provenance=made())
    assert run.get("s", "slide") == {"a": 1}
    run.put("s", "slide", {"a": 3}, provenance=made(), replace=True)
    assert run.get("s", "slide") == {"a": 3}


def test_a_map_is_replaced_whole(run: RunFolder) -> None:
    for value in (3, 4):
        labels = np.full((2, 2), value, np.uint8)
        run.put("s", "maps/m", LabelMap(labels, 2.0), provenance=made(), replace=True)
    assert run.get("s", "maps/m").labels.tolist() == [[4, 4], [4, 4]]
    assert [p.name for p in run.path_of("s", "maps/m").parent.iterdir()] == ["m.ome.zarr"]


def test_a_failed_write_leaves_the_old_and_no_debris(run: RunFolder) -> None:
    run.put("s", "slide", {"a": 1}, provenance=made())
    with pytest.raises(TypeError):
        run.put("s", "slide", {"a": object()}, provenance=made(), replace=True)
    assert run.get("s", "slide") == {"a": 1}
    assert [p.name for p in (run.path / "slides" / "s").iterdir()] == ["slide.json"]


def test_missing_damaged_and_foreign_are_said(run: RunFolder) -> None:
    with pytest.raises(StoreError, match="is not there; to mend: run the stage that writes 'tissue'"):
        run.get("s", "tissue")
    run.put("s", "tissue", some_tissue(), provenance=made())
    path = run.path_of("s", "tissue")
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"cannot be read.*delete it and run again"):
        run.get("s", "tissue")
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(StoreError, match="no Coverslip header"):
        run.get("s", "tissue")
    assert run.fingerprint("s", "tissue") is None


@pytest.mark.parametrize("key", [key for key in VALUES if not key.startswith("maps")])
def test_any_truncated_file_is_said(run: RunFolder, key: str) -> None:
    run.put("s", key, VALUES[key], provenance=made())
    path = run.path_of("s", key)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(StoreError, match="cannot be read"):
        run.get("s", key)


def test_header_survives_a_program_that_sorts_the_members(run: RunFolder) -> None:
    run.put("s", "tissue", some_tissue(), provenance=made())
    path = run.path_of("s", "tissue")
    values = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(values.items())), indent=2))
    assert run.provenance("s", "tissue").slide == ROOT
    assert np.array_equal(run.get("s", "tissue").mask, some_tissue().mask)


def test_later_version_and_other_type_are_refused(run: RunFolder) -> None:
    run.put("s", "stain", VALUES["stain"], provenance=made())
    path = run.path_of("s", "stain")
    values = json.loads(path.read_text())
    values["coverslip"]["version"] = 99
    path.write_text(json.dumps(values))
    with pytest.raises(StoreError, match=r"stain version 99.*pip install --upgrade coverslip"):
        run.get("s", "stain")
    values["coverslip"] |= {"version": 1, "type": "quality"}
    path.write_text(json.dumps(values))
    with pytest.raises(StoreError, match="of type 'quality', expected 'stain'"):
        run.get("s", "stain")


def test_a_run_of_a_later_version_is_refused(run: RunFolder) -> None:
    file = run.path / "run.json"
    values = json.loads(file.read_text())
    values["coverslip"]["version"] = 2
    file.write_text(json.dumps(values))
    for opening in (RunFolder, RunFolder.create):
        with pytest.raises(StoreError, match=r"run version 2.*upgrade"):
            opening(run.path)


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years")
    with pytest.raises(UsageError, match=r"holds other files \(thesis.docx\) and no run"):
        RunFolder.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]
    with pytest.raises(UsageError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.docx")
    with pytest.raises(StoreError, match="holds no run"):
        RunFolder(tmp_path)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b"])
def test_slide_names_cannot_lead_out_of_the_run(run: RunFolder, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a slide's folder"):
        run.put(name, "slide", {}, provenance=made())


@pytest.mark.parametrize("key", ["features/../x", "features/", "features/a/b"])
def test_artefact_names_cannot_lead_out_of_the_run(run: RunFolder, key: str) -> None:
    with pytest.raises((UsageError, UnknownNameError)):
        run.put("s", key, some_features(), provenance=made())


def test_unknown_artefact_gets_the_nearest(run: RunFolder) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tissue'"):
        run.get("s", "tisue")


# ------------------------------------------------------------------ tables
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.tuples(st.floats(width=32), st.text(max_size=4), st.booleans()), max_size=8))
def test_any_table_survives(tmp_path: Path, rows: list) -> None:
    run = RunFolder.create(tmp_path / "run")
    columns = {
        "value": np.array([row[0] for row in rows], np.float32),
        "name": np.array([row[1] for row in rows], object),
        "flag": np.array([row[2] for row in rows], bool),
    }
    run.put("s", "predictions/p", Table(columns), provenance=made(), replace=True)
    got = run.get("s", "predictions/p")
    assert np.array_equal(got["value"], columns["value"], equal_nan=True)
    assert got["name"].tolist() == columns["name"].tolist()
    assert got["flag"].tolist() == columns["flag"].tolist()


def test_graded_tiles_take_their_quality_along() -> None:
    taken = some_tiles().take(np.array([4, 1]))
    assert taken.xy.tolist() == [[1024, 28], [256, 7]]
    assert taken.quality["usable"].tolist() == pytest.approx([0.9, 0.6])


# ------------------------------------------------------------------ full disk
@pytest.fixture
def small_disk(tmp_path: Path):
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root; run the tests as root, e.g. in a container")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder]
    mount = subprocess.run(mount, capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {mount.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


LARGE = {
    "slide": {"text": "x" * 600_000},
    "thumbnail": np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8),
    "features/f": Features(np.random.default_rng(0).random((2000, 100)), np.zeros((2000, 2), np.int32), "f"),
    "predictions/p": Table({"v": np.random.default_rng(0).random(100_000)}),
    "maps/m": LabelMap(np.random.default_rng(0).integers(0, 255, (1000, 1000), dtype=np.uint8), 2.0),
}


@pytest.mark.parametrize("key", LARGE)
def test_a_full_disk_is_said_and_leaves_nothing_half_written(small_disk: Path, key: str) -> None:
    run = RunFolder.create(small_disk / "run")
    before = {p for p in run.path.rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=r"the disk is full.*free some space and run the same command again"):
        run.put("s", key, LARGE[key], provenance=made())
    assert not run.has("s", key)
    assert {p for p in run.path.rglob("*") if p.is_file()} == before
