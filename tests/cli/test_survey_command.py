"""``coverslip run survey`` on good and bad input: what comes out, what is said, what is left on the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coverslip.store import RunFolder

Coverslip = Callable[..., object]
Copy = Callable[[str], Path]
HERE = ("--workers", 0)


def debris(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".partial" in path.name]


# ------------------------------------------------------------------ the whole path
def test_survey_from_glass_to_report_and_again(coverslip: Coverslip, copy: Copy, tmp_path: Path) -> None:
    slide, out = copy("a.svs"), tmp_path / "run"
    said = coverslip("run", "survey", slide, "-o", out, *HERE)
    assert (said.code, said.err) == (0, "")
    assert "1 done, 0 failed" in said.out
    assert str(out / "report" / "index.html") in said.out
    check_files(out)
    before = {path: path.stat().st_mtime_ns for path in (out / "slides").rglob("*")}
    began = time.monotonic()
    again = coverslip("run", "survey", slide, "-o", out, "--json")
    assert time.monotonic() - began < 3
    assert [row["state"] for row in json.loads(again.out)["slides"]] == ["fresh"]
    assert {path: path.stat().st_mtime_ns for path in (out / "slides").rglob("*")} == before


def check_files(out: Path) -> None:
    run = RunFolder(out)
    assert set(run.keys("a")) == {
        "slide", "thumbnail", "tissue", "quality", "tiles", "stain", "features/pathomics",
        "predictions/lookalike", "maps/lookalike", "page",
    }  # fmt: skip
    tiles, features = run.get("a", "tiles"), run.get("a", "features/pathomics")
    assert len(tiles) > 4
    assert np.array_equal(features.coords, tiles.xy)
    assert len(features.names) == features.X.shape[1]
    assert 70 <= features.X.shape[1] <= 100
    assert np.isfinite(features.X).all()
    assert tiles.quality["usable"].shape == (len(tiles),)
    assert run.get("a", "stain").stains.names == ("haematoxylin", "eosin")
    alike, on_slide = run.get("a", "predictions/lookalike"), run.get("a", "maps/lookalike")
    assert alike.labels.min() == 0
    places = ((tiles.xy - on_slide.origin) / on_slide.downsample).round().astype(int)
    assert np.array_equal(on_slide.labels[places[:, 1], places[:, 0]], alike.labels + 1)
    assert np.count_nonzero(on_slide.labels) == len(tiles)
    assert 0 < run.get("a", "quality").summary["usable_fraction"] <= 1
    for key in run.keys("a"):
        assert run.provenance("a", key).slide.mpp == 0.5
    assert not debris(out)


def test_workers_give_the_same_files(coverslip: Coverslip, copy: Copy, tmp_path: Path) -> None:
    slide = copy("a.svs")
    for out, workers in (("one", 0), ("two", 2)):
        assert coverslip("run", "survey", slide, "-o", tmp_path / out, "--workers", workers).code == 0
    one, two = (RunFolder(tmp_path / out) for out in ("one", "two"))
    for key in one.keys("a"):
        assert one.fingerprint("a", key) == two.fingerprint("a", key)
    assert np.array_equal(one.get("a", "features/pathomics").X, two.get("a", "features/pathomics").X)


def test_set_and_recipe_files(coverslip: Coverslip, copy: Copy, tmp_path: Path) -> None:
    slide, out, recipe = copy("a.svs"), tmp_path / "run", tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nstages:\n  - tissue\n  - tiles: {size: 256, quality: false}\n")
    assert coverslip("run", recipe, slide, "-o", out, *HERE, "--set", "tiles.size=128").code == 0
    assert RunFolder(out).get("a", "tiles").spec.size == 128
    again = coverslip("run", recipe, slide, "-o", out, *HERE, "--json")
    assert json.loads(again.out)["slides"][0]["computed"] == ["tiles"]


# ------------------------------------------------------------------ scale
def test_no_mpp_is_refused_with_the_mend(
    coverslip: Coverslip, scaleless: Copy, copy: Copy, tmp_path: Path
) -> None:
    scaleless("bare.tif")
    copy("good.svs")
    said = coverslip("run", "survey", tmp_path / "slides", "-o", tmp_path / "run", *HERE)
    assert said.code == 1
    assert "bare failed at tissue" in said.err
    assert "--mpp 0.5" in said.err
    assert RunFolder(tmp_path / "run").has("good", "page")
    assert not RunFolder(tmp_path / "run").has("bare", "tissue")


@pytest.mark.parametrize("how", ["option", "table", "cohort"])
def test_what_the_user_says_is_recorded_in_every_result(
    coverslip: Coverslip, scaleless: Copy, tmp_path: Path, how: str
) -> None:
    slide, out, table = scaleless("bare.tif"), tmp_path / "run", tmp_path / "table.csv"
    words = {
        "option": (slide, "--mpp", "0.5"),
        "table": (slide, "--mpp-csv", table),
        "cohort": (table,),
    }
    table.write_text("slide,mpp\nbare,0.5\n" if how == "table" else f"slide,path,mpp\nbare,{slide},0.5\n")
    said = coverslip("run", "survey", *words[how], "-o", out, *HERE)
    assert said.code == 0, said.err
    run = RunFolder(out)
    assert run.get("bare", "slide")["mpp_source"] == "user"
    for key in run.keys("bare"):
        assert (run.provenance("bare", key).slide.mpp, run.provenance("bare", key).slide.mpp_source) == (
            0.5,
            "user",
        )
    assert coverslip("run", "survey", *words[how], "-o", out, "--json").code == 0


# ------------------------------------------------------------------ slides that are none, or damaged
def test_bad_slides_fail_with_reasons_and_the_others_go_on(
    coverslip: Coverslip, copy: Copy, tmp_path: Path
) -> None:
    good, out = copy("good.svs"), tmp_path / "run"
    bad = {
        "empty.svs": b"",
        "text.svs": b"this is no slide",
        "truncated.svs": good.read_bytes()[:60_000],
        "wrong_ending.ndpi": b"\x89PNG\r\n\x1a\n" + b"\0" * 200,
    }
    for name, content in bad.items():
        (good.parent / name).write_bytes(content)
    said = coverslip("run", "survey", good.parent, "-o", out, *HERE, "--json")
    assert said.code == 1
    rows = {row["slide"]: row for row in json.loads(said.out)["slides"]}
    assert rows.pop("good")["state"] == "done"
    assert set(rows) == {Path(name).stem for name in bad}
    for row in rows.values():
        assert row["state"] == "failed"
        assert row["mend"]
        assert row["error"] in {"UnsupportedSlideError", "CorruptSlideError"}
        assert f"{row['slide']} failed at {row['stage']}" in said.err
    assert "zero bytes" in rows["empty"]["message"]
    assert "truncated" in rows["truncated"]["message"]
    assert not debris(out)
    status = json.loads(coverslip("status", out, "--json").out)
    assert status["counts"] == {"done": 1, "failed": 4, "unfinished": 0}
    assert "truncated" in (out / "report" / "index.html").read_text()


def test_a_readable_slide_of_the_wrong_ending_is_read(
    coverslip: Coverslip, copy: Copy, tmp_path: Path
) -> None:
    slide = copy("really_svs.tif")
    assert coverslip("run", "survey", slide, "-o", tmp_path / "run", *HERE).code == 0


def test_a_corrupt_tile_marks_only_what_touches_it(coverslip: Coverslip, copy: Copy, tmp_path: Path) -> None:
    from coverslip.phantom import damage_tile

    whole, damaged = copy("whole.svs"), copy("damaged.svs")
    damage_tile(damaged, 0, 2, 2)
    out = tmp_path / "run"
    said = coverslip("run", "survey", whole, damaged, "-o", out, *HERE)
    assert said.code == 0, said.err
    run = RunFolder(out)
    features = {name: run.get(name, "features/pathomics") for name in ("whole", "damaged")}
    missing = features["damaged"].missing
    assert 0 < missing.sum() < len(missing) / 2
    assert not features["whole"].missing.any()
    assert (run.get("damaged", "predictions/lookalike").labels[missing] == -1).all()
    assert (run.get("damaged", "predictions/lookalike").labels[~missing] >= 0).all()
    notes = [e.note for e in run.events() if e.slide == "damaged" and e.stage == "pathomics"]
    assert "could not be read" in notes[0][0]


def test_no_tissue_is_said(coverslip: Coverslip, tmp_path: Path) -> None:
    import tifffile

    glass = np.random.default_rng(0).normal(243, 1, (1500, 2000, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "glass.tif", glass, photometric="rgb", tile=(256, 256), metadata=None)
    said = coverslip("run", "survey", tmp_path / "glass.tif", "-o", tmp_path / "run", "--mpp", 0.5, *HERE)
    assert said.code == 1
    assert "shows no tissue" in said.err
    assert "to mend" in said.err
    assert "glass" in (tmp_path / "run" / "report" / "index.html").read_text()


# ------------------------------------------------------------------ wrong use
def test_wrong_use_exits_2_and_writes_nothing(coverslip: Coverslip, copy: Copy, tmp_path: Path) -> None:
    slide, out = copy("a.svs"), tmp_path / "run"
    (tmp_path / "empty").mkdir()
    (tmp_path / "double").mkdir()
    (tmp_path / "double" / "a.svs").write_bytes(slide.read_bytes())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    wrong = {
        ("run", "survey", tmp_path / "none.svs", "-o", out): "there is nothing at",
        ("run", "survey", tmp_path / "empty", "-o", out): "there is no slide in the folder",
        ("run", "survey", slide, tmp_path / "double", "-o", out): "two slides have the same id",
        ("run", "survy", slide, "-o", out): "did you mean 'survey'",
        ("run", "survey", slide, "-o", out, "--set", "tiles.sise=1"): "did you mean 'size'",
        ("run", "survey", slide, "-o", out, "--mpp", "fast"): "cannot read 'fast' as a resolution",
        ("run", "survey", slide, "-o", out, "--mpp", "5000"): "implausible",
        ("run", "survey", slide, "-o", out, "--mpp-csv", tmp_path / "no.csv"): "there is no table",
        ("run", "survey", slide, "-o", out, "--workers", "-1"): "-1 workers cannot be",
        ("run", "survey", slide, "-o", tmp_path / "full"): "holds other files (thesis.txt)",
        ("run", "survey", slide, "-o", slide): "is a file",
        ("run", "survey", slide): "Missing option '-o'",
        ("run", "survey", "-o", out): "Missing argument",
        ("run",): "Missing argument",
        ("rum",): "No such command 'rum'",
        ("status", tmp_path / "full"): "holds no run",
        ("info", tmp_path / "none.svs"): "there is no file",
    }
    for words, expected in wrong.items():
        said = coverslip(*words)
        assert said.code == 2, (words, said)
        assert expected in said.err, (words, said.err)
        assert "Traceback" not in said.err
        assert said.out == ""
    assert not out.exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_a_run_of_a_later_version_is_left_alone(coverslip: Coverslip, copy: Copy, tmp_path: Path) -> None:
    slide, out = copy("a.svs"), tmp_path / "run"
    RunFolder.create(out)
    values = json.loads((out / "run.json").read_text())
    values["coverslip"]["version"] = 7
    (out / "run.json").write_text(json.dumps(values))
    said = coverslip("run", "survey", slide, "-o", out, *HERE)
    assert said.code == 2
    assert "run version 7" in said.err
    assert "pip install --upgrade coverslip" in said.err
    assert json.loads((out / "run.json").read_text()) == values
    assert [path.name for path in out.iterdir()] == ["run.json"]


# ------------------------------------------------------------------ full disk, Ctrl-C
def test_a_full_disk_is_said_plainly_and_resumes(coverslip: Coverslip, copy: Copy, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root; run the tests as root, e.g. in a container")
    slide, small = copy("a.svs"), tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=150k", "none", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        said = coverslip("run", "survey", slide, "-o", small / "run", *HERE)
        assert said.code == 1
        assert "the disk is full" in said.err
        assert "free some space and run the same command again" in said.err
        assert not debris(small)
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        again = coverslip("run", "survey", slide, "-o", small / "run", *HERE, "--json")
        assert again.code == 0
        check_files(small / "run")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_ctrl_c_exits_130_and_the_same_command_goes_on(
    coverslip: Coverslip, copy: Copy, tmp_path: Path
) -> None:
    import signal

    slide, out = copy("a.svs"), tmp_path / "run"
    command = [sys.executable, "-m", "coverslip", "run", "survey", str(slide), "-o", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 30
    while time.monotonic() < until and not (out / "slides" / "a" / "tissue.geojson").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    if process.returncode == 0:
        pytest.skip("this machine finished the slide before it could be interrupted")
    assert process.returncode == 130, err
    assert "Traceback" not in err, err
    assert "the same command goes on from here" in err
    said = coverslip("run", "survey", slide, "-o", out, *HERE, "--json")
    assert "tissue" not in json.loads(said.out)["slides"][0]["computed"]
    check_files(out)


# ------------------------------------------------------------------ a real slide
def test_survey_of_a_real_slide(coverslip: Coverslip, test_data: Path, tmp_path: Path) -> None:
    slide, out = test_data / "slides" / "aperio" / "CMU-1-Small-Region.svs", tmp_path / "run"
    began = os.times()
    assert coverslip("run", "survey", slide, "-o", out, *HERE).code == 0
    spent = os.times()
    assert spent.user + spent.system - began.user - began.system < 25
    run = RunFolder(out)
    found = run.get("CMU-1-Small-Region", "slide")
    assert (found["width"], found["height"], found["mpp_source"]) == (2220, 2967, "file")
    assert run.get("CMU-1-Small-Region", "stain").stains.names == ("haematoxylin", "eosin")
    assert 20 <= len(run.get("CMU-1-Small-Region", "tiles")) <= 80
    assert run.get("CMU-1-Small-Region", "quality").summary["usable_fraction"] > 0.7
    assert "CMU-1-Small-Region" in (out / "report" / "index.html").read_text()
