"""Maps that are stitched into a run, resumed after a kill, and read by window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from coverslip import open_slide
from coverslip.slides import Slide
from coverslip.store import MapStream, Provenance, RunFolder, StitchedMap
from coverslip.store.maps import Result
from coverslip.tiles import GridSpec, MapSpec, Tiles, lay

CLASSES = ("stroma", "tumour")


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (700, 600, 3)).astype(np.uint8))
    with open_slide(path, mpp=1.0) as opened:
        yield opened


def probabilities(slide: Slide, tiles: Tiles, index: int) -> np.ndarray[Any, Any]:
    """Tumour where it is bright: a value that depends on the place alone, so that blends equal it."""
    bright = slide.read_at(tiles.box(index), 1.0)[..., 0] / np.float32(255)
    return np.stack([1 - bright, bright])


def stream_of(slide: Slide, *, stop_after: int | None = None) -> MapStream:
    tiles = lay(slide, GridSpec(size=128, stride=96, edge="pad", min_tissue=0))

    def results(todo: np.ndarray[Any, Any]) -> Iterator[Result]:
        for number, index in enumerate(todo.tolist()):
            if number == stop_after:
                raise KeyboardInterrupt
            yield np.array([index]), probabilities(slide, tiles, index)[None], np.zeros(1, bool)

    return MapStream(slide, tiles, MapSpec(CLASSES, dtype="float32"), results)


def made(parameters: dict[str, Any]) -> Provenance:
    return Provenance.make("segment", 1, parameters=parameters, inputs={}, slide=None)


def test_a_stitched_map_reads_back_by_window(tmp_path: Path, slide: Slide) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.put("a", "maps/regions", stream_of(slide), provenance=made({}))
    found = run.get("a", "maps/regions")
    assert isinstance(found, StitchedMap)
    assert (found.classes, found.kind, found.size) == (CLASSES, "probabilities", (600, 700))
    window = found.window(-10, 650, (100, 100))
    assert window.shape == (2, 100, 100)
    assert not window[:, :, :10].any()
    assert not window[:, 50:].any()
    bright = slide.read_at(lay(slide, GridSpec(size=64, min_tissue=0)).box(0), 1.0)[..., 0] / 255
    np.testing.assert_allclose(found.window(0, 0, (64, 64))[1], bright, atol=1e-5)
    assert run.provenance("a", "maps/regions").fingerprint == made({}).fingerprint


def test_an_interrupted_map_goes_on_and_is_the_same(tmp_path: Path, slide: Slide) -> None:
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run.put("a", "maps/regions", stream_of(slide, stop_after=40), provenance=made({}))
    assert not run.has("a", "maps/regions")
    assert run.kept("a", "maps/regions", made({}).fingerprint) > 0
    run.put("a", "maps/regions", stream_of(slide), provenance=made({}))
    whole = stream_of(slide).collect()
    np.testing.assert_array_equal(run.get("a", "maps/regions").read(), whole.read())
    assert list(run.path_of("a", "maps/regions").parent.iterdir()) == [run.path_of("a", "maps/regions")]


def test_another_model_does_not_go_on_with_what_one_left(tmp_path: Path, slide: Slide) -> None:
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run.put("a", "maps/regions", stream_of(slide, stop_after=40), provenance=made({"weights": "old"}))
    new = made({"weights": "new"})
    assert run.kept("a", "maps/regions", new.fingerprint) == 0
    run.put("a", "maps/regions", stream_of(slide), provenance=new)
    assert run.provenance("a", "maps/regions").fingerprint == new.fingerprint
