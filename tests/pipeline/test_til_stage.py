"""Lymphocytes in the stroma of a tumour, on squares that can be reckoned by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile

from coverslip.pipeline.memory import run_stage
from coverslip.pipeline.stages.til import TilStage
from coverslip.slides import open_slide
from coverslip.store import ObjectTable


def objects(shapes: list, classes: tuple[str, ...], labels: list[int]) -> ObjectTable:
    return ObjectTable(np.array(shapes), classes=classes, labels=np.array(labels, np.int32), mpp=1.0)


def test_stroma_is_cut_to_the_bed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((300, 400, 3), 200, np.uint8), photometric="rgb")
    regions = objects(
        [shapely.box(0, 0, 400, 300) - shapely.box(50, 50, 150, 150), shapely.box(50, 50, 150, 150)],
        ("stroma", "nest"),
        [0, 1],
    )
    bed = objects([shapely.box(50, 50, 250, 150)], ("bed",), [0])
    cells = [shapely.box(x - 4, 96, x + 4, 104) for x in (100, 200, 230, 350)]
    inputs = {
        "objects/lymphocytes": objects(cells, ("lymphocyte",), [0] * 4),
        "objects/tissue-types": regions,
        "objects/bed": bed,
    }
    with open_slide(tmp_path / "a.tif", mpp=1.0) as slide:
        found = run_stage(TilStage(rim_um=0), slide, inputs)["tables/til"]
        whole = run_stage(TilStage(rim_um=0, bed=None), slide, inputs)["tables/til"]
    # of four cells one lies in the nest, two in the bed's stroma of 100 × 100 µm, one beyond the bed
    assert (found["stroma_lymphocytes"][0], found["nests_lymphocytes"][0]) == (2, 1)
    assert found["stroma_mm2"][0] == pytest.approx(0.01)
    assert found["stromal_til_percent"][0] == pytest.approx(100 * 2 * 64 / 10_000)
    assert found["stroma_per_mm2"][0] == pytest.approx(200)
    assert whole["stroma_lymphocytes"][0] == 3
    assert whole["stroma_mm2"][0] == pytest.approx(0.11)


def test_at_the_edge_of_a_nest_a_lymphocyte_is_of_the_stroma(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((200, 300, 3), 200, np.uint8), photometric="rgb")
    regions = objects(
        [shapely.box(0, 0, 100, 200), shapely.box(100, 0, 200, 200), shapely.box(200, 0, 300, 200)],
        ("stroma", "nest", "necrosis"),
        [0, 1, 2],
    )
    # in the nest at its edge to the stroma, deep in it, at its edge to dead tissue; in the stroma at the edge
    cells = [shapely.box(x - 4, 96, x + 4, 104) for x in (102, 150, 198, 98)]
    inputs = {
        "objects/lymphocytes": objects(cells, ("lymphocyte",), [0] * 4),
        "objects/tissue-types": regions,
    }
    with open_slide(tmp_path / "a.tif", mpp=1.0) as slide:
        found = run_stage(TilStage(rim_um=0, bed=None), slide, inputs)["tables/til"]
    assert (found["stroma_lymphocytes"][0], found["nests_lymphocytes"][0]) == (2, 2)
    assert found["stromal_til_percent"][0] == pytest.approx(
        100 * (6 * 8) / 20_000
    )  # what of them lies in the stroma
