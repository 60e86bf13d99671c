"""Runs written by past releases open, and say what they said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from coverslip.pipeline import status_of
from coverslip.store import RunFolder, layout

sys.path.insert(0, str(Path(__file__).parent))
from make_run import ROOT, values, write

DATA = Path(__file__).parent / "data"
PAST = sorted(path.name for path in DATA.iterdir() if path.is_dir())


@pytest.fixture(params=[*PAST, "today"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    return write(tmp_path / "run") if request.param == "today" else RunFolder(DATA / request.param)


def test_there_is_a_run_of_every_past_release() -> None:
    assert "run-0.1" in PAST


FORMAT = Path(__file__).parents[2] / "docs" / "reference" / "format.md"


def test_the_format_names_every_type_and_file() -> None:
    text = FORMAT.read_text(encoding="utf-8")
    for place, kind in [*layout.OF_SLIDE.values(), *layout.OF_RUN.values()]:
        assert f"`{kind.type}`" in text
        name = Path(place).name.format(name="<name>", slide="<slide>")
        for suffix in kind.suffixes:
            shown = name.replace("<name>", "<encoder>") if kind.type == "features" else name
            assert f"{shown}{suffix}" in text


def test_the_format_says_how_fingerprints_are_made(run: RunFolder) -> None:
    import hashlib
    import json

    made = run.provenance("a", "tiles").to_dict()
    parts = [made[name] for name in ("stage", "stage_version", "parameters", "inputs", "slide")]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode("ascii")).hexdigest()[:32] == made["fingerprint"]


def test_every_file_has_its_provenance(run: RunFolder) -> None:
    assert set(run.keys("a")) == set(values())
    for key in values():
        found = run.provenance("a", key)
        assert (found.stage, found.stage_version, found.parameters) == ("example", 1, {"size": 256})
        assert (found.inputs, found.slide) == ({"slide": "f00"}, ROOT)


def test_what_the_slide_is(run: RunFolder) -> None:
    assert run.slides() == ("a",)
    assert run.get("a", "slide") == values()["slide"]
    assert np.abs(run.get("a", "thumbnail").astype(int) - 240).max() <= 1
    tissue, expected = run.get("a", "tissue"), values()["tissue"]
    assert np.array_equal(tissue.mask, expected.mask)
    assert (tissue.area_px, tissue.notes) == (448 * 368 - 80 * 80, ("by hand",))


def test_how_it_fares(run: RunFolder) -> None:
    quality = run.get("a", "quality")
    assert quality.summary == pytest.approx({"usable_fraction": 2 / 3, "pen": 1 / 3})
    assert quality.cells["pen"].tolist() == [True, False]
    tiles = run.get("a", "tiles")
    assert (tiles.xy.tolist(), tiles.spec.size, tiles.mpp) == ([[0, 0], [256, 0]], 256, 0.5)
    assert tiles.quality["pen"].tolist() == [0, 0.5]
    stain = run.get("a", "stain")
    assert (stain.method, stain.stains.max_concentrations, stain.tiles) == ("macenko", (1.5, 1.0), 2)
    assert stain.stains.vectors[0] == pytest.approx((0.6511, 0.7012, 0.2905), abs=1e-4)


def test_numbers_of_tiles_objects_and_maps(run: RunFolder) -> None:
    features = run.get("a", "features/pathomics")
    assert (features.X[0].tolist(), features.missing.tolist()) == ([1, 2, 3], [False, True])
    assert (features.names, features.encoder, features.tile_side) == (("a", "b", "c"), "pathomics", 256.0)
    alike = run.get("a", "predictions/lookalike")
    assert (alike.labels.tolist(), alike.names, alike.examples) == ([0, -1], ("A",), ((0,),))
    assert run.get("a", "objects/nuclei")["y"].tolist() == [2.5]
    assert run.get("a", "objects/nuclei").notes == {"unit": "px"}
    assert run.get("a", "tables/redness")["red"].tolist() == [0.4]
    alike_map = run.get("a", "maps/lookalike")
    assert (alike_map.labels.tolist(), alike_map.downsample, alike_map.names) == ([[1, 0]], 256.0, ("A",))


def test_pages_log_and_status(run: RunFolder) -> None:
    assert run.get("a", "page") == values()["page"]
    assert "the run" in run.get(None, "report")
    assert [(event.slide, event.stage, event.seconds) for event in run.events()] == [("a", "tissue", 0.5)]
    assert status_of(run).slides[0].stages["tissue"] == "stale"
