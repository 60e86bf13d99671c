"""The canvas gives what blending whole arrays gives, and survives a kill, a full disk, a second start."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coverslip.core.errors import ExistsError, StoreError, UnknownNameError, UsageError
from coverslip.tiles import Canvas, GridSpec, MapSpec, lay, mapfile
from coverslip.tiles.canvas import places
from coverslip.tiles.mapfile import Writing
from coverslip.tiles.pyramid import halve
from coverslip.tiles.weights import WEIGHTS, weights

CLASSES = ("stroma", "tumour", "other")


def results(tiles, seed=0, classes=3):
    """Random probabilities (n, k, size, size) that sum to 1."""
    rng = np.random.default_rng(seed)
    values = rng.random((len(tiles), classes, tiles.spec.size, tiles.spec.size), np.float32)
    return values / values.sum(axis=1, keepdims=True)


def naive(slide, tiles, values, weight):
    """Blend in arrays as large as the slide, in double precision."""
    width, height = (int(np.ceil(side / tiles.downsample - 1e-6)) for side in slide.size)
    size, factor = tiles.spec.size, weights(weight, tiles.spec.size).astype(float)
    total = np.zeros((values.shape[1], height + 2 * size, width + 2 * size))
    mass = np.zeros(total.shape[1:])
    for (x, y), value in zip((places(tiles) + size).tolist(), values, strict=True):
        total[:, y : y + size, x : x + size] += value * factor
        mass[y : y + size, x : x + size] += factor
    blended = np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)
    return blended[:, size : size + height, size : size + width]


def levels(path):
    group = zarr.open_group(str(path), mode="r")
    return [np.asarray(group[entry["path"]]) for entry in group.attrs["multiscales"][0]["datasets"]]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.sampled_from([64, 100, 300]),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    weight=st.sampled_from(sorted(WEIGHTS)),
    mpp=st.sampled_from([0.5, 0.9, 2.0]),
    edge=st.sampled_from(["drop", "pad"]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_equals_a_naive_blend(wide, tmp_path_factory, size, overlap, weight, mpp, edge, threads, seed):
    tiles = lay(wide, GridSpec(mpp=mpp, size=size, stride=int(size * (1 - overlap)), edge=edge))
    rng = np.random.default_rng(seed)
    tiles = tiles.take(np.sort(rng.permutation(len(tiles))[:40]))
    values = results(tiles, seed)
    path = tmp_path_factory.mktemp("maps") / "map.ome.zarr"
    with Canvas(
        path, wide, tiles, MapSpec(CLASSES, dtype="float32", weight=weight), threads=threads
    ) as canvas:
        for part in np.array_split(canvas.todo, 5):
            canvas.add(part, values[part])
    found = levels(path)
    assert np.abs(found[0] - naive(wide, tiles, values, weight)).max() <= 1e-6
    for fine, coarse in pairwise(found):
        assert np.array_equal(coarse, halve(fine, labels=False))


def test_uint8_is_within_half_a_step(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=256, stride=192, edge="pad"))
    values = results(tiles)
    for name, given_values in (("float", values), ("bytes", np.rint(values * 255).astype(np.uint8))):
        with Canvas(tmp_path / name, wide, tiles, MapSpec(CLASSES)) as canvas:
            canvas.add(np.arange(len(tiles)), given_values)
        truth = naive(wide, tiles, given_values / (1 if name == "float" else 255), "gaussian")
        found = levels(tmp_path / name)
        assert np.abs(found[0] / 255 - truth).max() <= 0.5 / 255 + 1e-5
        for fine, coarse in pairwise(found):
            assert np.array_equal(coarse, halve(fine, labels=False))


def test_labels_take_the_weightiest_tile(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=256, stride=128, edge="pad"))
    rng = np.random.default_rng(3)
    labels = np.broadcast_to(rng.integers(1, 4, (len(tiles), 1, 1), np.uint8), (len(tiles), 256, 256))
    with Canvas(tmp_path / "labels", wide, tiles, MapSpec(CLASSES, kind="labels", weight="ramp")) as canvas:
        canvas.add(np.arange(len(tiles)), labels)
    best, truth = np.zeros((1400 + 512, 1700 + 512)), np.zeros((1400 + 512, 1700 + 512), np.uint8)
    for (x, y), label in zip(places(tiles).tolist(), labels, strict=True):
        here = (slice(y, y + 256), slice(x, x + 256))
        wins = weights("ramp", 256) > best[here]
        truth[here][wins] = label[wins]
        best[here][wins] = weights("ramp", 256)[wins]
    found = levels(tmp_path / "labels")
    assert np.array_equal(found[0], truth[:1400, :1700])
    for fine, coarse in pairwise(found):
        assert np.array_equal(coarse, halve(fine, labels=True))


@given(seed=st.integers(0, 10**6), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_most_frequent_label(seed, shape):
    values = np.random.default_rng(seed).integers(0, 4, shape, np.uint8)
    small = halve(values, labels=True)
    padded = np.pad(values, [(0, side % 2) for side in shape], mode="edge")
    for y, x in np.ndindex(small.shape):
        square = padded[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist()
        assert small[y, x] == max(square, key=lambda value: (square.count(value), value))


def test_a_missing_tile_leaves_no_trace(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=256))
    values = results(tiles)
    values[4] = np.nan
    missing = np.arange(len(tiles)) == 4
    with Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES, dtype="float32")) as canvas:
        canvas.add(np.arange(len(tiles)), values, missing=missing)
    rest = tiles.take(~missing)
    assert np.abs(levels(tmp_path / "map")[0] - naive(wide, rest, values[~missing], "gaussian")).max() <= 1e-6


def test_untouched_chunks_are_not_written(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=128)).take([0])
    with Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES)) as canvas:
        canvas.add([0], results(tiles))
    chunks = [entry for entry in (tmp_path / "map").rglob("*") if entry.is_file() and entry.name.isdigit()]
    assert len(chunks) == len(levels(tmp_path / "map"))


def test_resumes_to_the_same_bytes(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=200, stride=150, edge="pad"))
    values, spec = results(tiles), MapSpec(CLASSES, dtype="float16")
    with Canvas(tmp_path / "once", wide, tiles, spec) as canvas:
        canvas.add(canvas.todo, values)
    starts = 0
    while not _finished(tmp_path / "often"):
        starts += 1
        canvas = Canvas(tmp_path / "often", wide, tiles, spec)
        for part in np.array_split(canvas.todo, max(1, len(canvas.todo) // 9))[:4]:
            canvas.add(part, values[part])
        canvas.close()
    assert starts > 3
    with pytest.raises(ExistsError, match="finished"):
        Canvas(tmp_path / "often", wide, tiles, spec)
    for one, other in zip(levels(tmp_path / "once"), levels(tmp_path / "often"), strict=True):
        assert np.array_equal(one, other)


def test_a_strip_is_on_disk_before_it_is_said_to_be(wide, tmp_path, monkeypatch):
    """What the power fails after is what was synchronised: chunks, and the folders that name them."""
    tiles = lay(wide, GridSpec(size=200, stride=150, edge="pad"))
    safe, unsafe, marks = set(), [], []
    fsync, mark = os.fsync, mapfile.MapFile.mark

    def watched(descriptor):
        safe.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def marked(self, closed):
        mark(self, closed)
        there = [path for path in self.path.rglob("*") if path.name != "canvas.json"]
        unsafe.extend(path for path in there if closed and path.stat().st_ino not in safe)
        marks.append(len(there))

    monkeypatch.setattr(mapfile.os, "fsync", watched)
    monkeypatch.setattr(mapfile.MapFile, "mark", marked)
    with Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES)) as canvas:
        canvas.add(canvas.todo, results(tiles))
    assert unsafe == []
    assert len(marks) > 2
    assert marks[-1] > marks[1] > 0


def _finished(path):
    state = path / "canvas.json"
    return state.is_file() and (said := json.loads(state.read_text()))["closed"] == said["strips"]


KILLED = """
import sys, os, signal, numpy as np
sys.path.insert(0, sys.argv[3])
from test_canvas import CLASSES, results
from coverslip.slides import open_slide
from coverslip.tiles import Canvas, GridSpec, MapSpec, lay
slide = open_slide(sys.argv[1])
tiles = lay(slide, GridSpec(size=200, stride=150, edge="pad"))
values = results(tiles)
canvas = Canvas(sys.argv[2], slide, tiles, MapSpec(CLASSES))
write, count = canvas._file.write, 0
def dying(*arguments):
    global count
    count += 1
    write(*arguments)
    if count == 14:
        os.kill(os.getpid(), signal.SIGKILL)
canvas._file.write = dying
canvas.add(canvas.todo, values)
"""


def test_survives_being_killed_in_the_middle_of_a_strip(wide, tmp_path):
    code = [sys.executable, "-c", KILLED, wide.path, str(tmp_path / "map"), str(Path(__file__).parent)]
    ended = subprocess.run(code, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    tiles = lay(wide, GridSpec(size=200, stride=150, edge="pad"))
    values = results(tiles)
    with Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES)) as canvas:
        assert 0 < len(canvas.todo) < len(tiles)
        canvas.add(canvas.todo, values[canvas.todo])
    with Canvas(tmp_path / "whole", wide, tiles, MapSpec(CLASSES)) as canvas:
        canvas.add(canvas.todo, values)
    for one, other in zip(levels(tmp_path / "map"), levels(tmp_path / "whole"), strict=True):
        assert np.array_equal(one, other)


def test_a_full_disk_is_said_and_leaves_the_last_good_strip(wide, tmp_path, monkeypatch):
    tiles = lay(wide, GridSpec(size=200, edge="pad"))
    values = results(tiles)
    canvas = Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES))
    store, written = mapfile.store, []

    def full(*arguments):
        written.append(arguments)
        if len(written) > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store(*arguments)

    monkeypatch.setattr(mapfile, "store", full)
    with pytest.raises(StoreError, match=r"disk is full.*continues after the last good strip"):
        canvas.add(canvas.todo, values)
    canvas.close()
    monkeypatch.undo()
    state = json.loads((tmp_path / "map" / "canvas.json").read_text())
    assert 0 < state["closed"] < state["strips"]
    with Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES)) as canvas:
        canvas.add(canvas.todo, values[canvas.todo])
    assert np.abs(levels(tmp_path / "map")[0] / 255 - naive(wide, tiles, values, "gaussian")).max() < 0.003


def test_other_tiles_or_files_are_refused(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=200))
    canvas = Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES))
    canvas.close()
    with pytest.raises(StoreError, match="other tiles"):
        Canvas(tmp_path / "map", wide, tiles.take([0, 1]), MapSpec(CLASSES))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("mother")
    with pytest.raises(StoreError, match="no map of ours"):
        Canvas(tmp_path / "letters", wide, tiles, MapSpec(CLASSES))
    assert (tmp_path / "letters" / "dear.txt").read_text() == "mother"


def test_wrong_results_are_refused(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=200))
    values = results(tiles)
    canvas = Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES))
    with pytest.raises(UsageError, match=r"expected float or uint8 \(1, 3, 200, 200\)"):
        canvas.add([0], values[0])
    canvas.add([0], values[:1])
    with pytest.raises(UsageError, match="added before"):
        canvas.add([0], values[:1])
    with pytest.raises(UsageError, match="no result yet, the first is 1"):
        canvas.finish()
    canvas.close()
    with pytest.raises(UsageError, match="label 4 has no name"):
        Canvas(tmp_path / "labels", wide, tiles, MapSpec(CLASSES, kind="labels")).add(
            [0], np.full((1, 200, 200), 4, np.uint8)
        )
    for wrong in ({"classes": ()}, {"classes": ("a", "a")}, {"kind": "votes"}, {"dtype": "int8"}):
        with pytest.raises(UsageError):
            MapSpec(**{"classes": CLASSES} | wrong)
    with pytest.raises(UnknownNameError, match="gaussian"):
        Canvas(tmp_path / "x", wide, tiles, MapSpec(CLASSES, weight="gausian"))
    with pytest.raises(StoreError, match="check its folder"), Writing(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_many_classes_are_stored_in_several_chunks(wide, tmp_path):
    tiles = lay(wide, GridSpec(size=200)).take([0, 5])
    values = results(tiles, classes=11)
    spec = MapSpec(tuple("abcdefghijk"), dtype="float32")
    with Canvas(tmp_path / "map", wide, tiles, spec) as canvas:
        canvas.add([0, 1], values)
    assert np.abs(levels(tmp_path / "map")[0] - naive(wide, tiles, values, "gaussian")).max() <= 1e-6


def test_metadata_says_what_it_is(wide, tmp_path):
    tiles = lay(wide, GridSpec(mpp=1.0, size=200))
    for spec in (MapSpec(CLASSES), MapSpec(CLASSES, kind="labels")):
        Canvas(tmp_path / spec.kind, wide, tiles, spec).close()
        group = zarr.open_group(str(tmp_path / spec.kind), mode="r")
        about = group.attrs["multiscales"][0]
        assert about["version"] == "0.4"
        assert about["datasets"][1]["coordinateTransformations"][0]["scale"][-2:] == [2.0, 2.0]
        assert group["0"].shape[-2:] == (700, 850)
        assert len(group["0"].shape) == len(about["axes"])
        assert (tmp_path / spec.kind / "0" / ".zarray").is_file()


def test_no_thread_is_left(wide, tmp_path):
    before = threading.active_count()
    tiles = lay(wide, GridSpec(size=200))
    with Canvas(tmp_path / "map", wide, tiles, MapSpec(CLASSES), threads=3) as canvas:
        canvas.add(canvas.todo, results(tiles))
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("coverslip")], (before, names)
