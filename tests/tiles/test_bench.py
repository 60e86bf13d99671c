"""The benchmark measures what it says; how fast that is depends on the machine and is not tested."""

from __future__ import annotations

import numpy as np

from coverslip.slides import open_slide
from coverslip.tiles import GridSpec, lay
from coverslip.tiles.bench import _middle, run
from coverslip.tiles.bench_slide import make_slide
from coverslip.tiles.floors import decode_floor, shared_out
from coverslip.tiles.plan import Plan


def test_rows(tmp_path):
    rows = run(make_slide(tmp_path / "made.svs", side=1536), rounds=1)
    works = [row["work"] for row in rows]
    assert works[0] == "tissue and grid"
    assert {"read: aligned", "read: off the grid", "read: 50 % overlap", "read: peak memory"} <= set(works)
    assert works[-1].startswith("stitch")
    for row in rows:
        assert set(row) == set(rows[0])
        assert row["value"] > 0
        assert row["ratio"] is None or row["ratio"] > 0


def test_floor_decodes_each_block_once(slide, monkeypatch):
    tiles = _middle(slide, lay(slide, GridSpec(size=64, stride=32)))
    decoded = []
    monkeypatch.setattr("imagecodecs.jpeg8_decode", lambda data, **_: decoded.append(data))
    plan = Plan.of(slide, tiles, np.arange(len(tiles)))
    decode_floor(plan, 2).work()
    assert len(decoded) == (plan.uses > 0).sum() > 50


def test_shared_out_does_every_item():
    seen = []
    shared_out(seen.append, list(range(100)), 3)
    assert sorted(seen) == list(range(100))


def test_made_slide_compresses_as_tissue_does(tmp_path):
    import tifffile

    path = make_slide(tmp_path / "made.svs", side=2048)
    with tifffile.TiffFile(path) as tif:
        inner = [
            tif.pages[0].databytecounts[row * 8 + column] for row in range(2, 6) for column in range(2, 6)
        ]
    assert 10_000 < sum(inner) / len(inner) < 30_000
    with open_slide(path) as slide:
        assert slide.mpp == 0.5
        assert len(slide.levels) == 3
