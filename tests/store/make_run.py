"""Write the tiny run that later versions must open: ``python tests/store/make_run.py FOLDER``.

A folder of ``tests/store/data`` is written once, by the release it is named after, and never again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from shapely import Polygon, box

from coverslip.core import Size
from coverslip.stain.matrices import RUIFROK_JOHNSTON, StainMatrix
from coverslip.store import (
    Event,
    Features,
    GradedTiles,
    LabelMap,
    ObjectTable,
    Prediction,
    Provenance,
    RunFolder,
    SlideRoot,
    SlideStain,
    Table,
)
from coverslip.tiles.grid import GridSpec
from coverslip.tissue.quality import FLAGS, Quality
from coverslip.tissue.tissue import Tissue

ROOT = SlideRoot("sha256s1:00", 640, 512, "tiff", 0.5, "file")


def values() -> dict[str, object]:
    """One value of every kind."""
    ring = Polygon(box(32, 32, 480, 400).exterior, [box(160, 160, 240, 240).exterior])
    xy = np.array([[0, 0], [256, 0]], np.int32)
    share = np.array([0.5, 1.0], np.float32)
    place = (share, np.array([0, 1], np.int32), np.array([0, 0], np.int32))
    cells = {"x": xy[:, 0], "y": xy[:, 1], "side_px": np.array([256, 256]), "tissue": share}
    cells |= {"focus": share, **{flag: np.array([flag == "pen", False]) for flag in FLAGS}}
    fixed = RUIFROK_JOHNSTON["H&E"]
    return {
        "slide": {"id": "a", "width": 640, "height": 512, "mpp_x": 0.5, "mpp_y": 0.5, "mpp_source": "file"},
        "thumbnail": np.full((8, 10, 3), 240, np.uint8),
        "tissue": Tissue.from_polygons([ring], Size(640, 512), 16, method="drawn", notes=("by hand",)),
        "quality": Quality(cells, {"usable_fraction": 2 / 3, "pen": 1 / 3}),
        "tiles": GradedTiles(xy, GridSpec(), 0.5, 1.0, *place, quality={"pen": share - 0.5}),
        "stain": SlideStain("macenko", StainMatrix(fixed.names, fixed.vectors, (1.5, 1.0)), tiles=2),
        "features/pathomics": Features(
            np.array([[1, 2, 3], [np.nan] * 3], np.float32), xy, "pathomics", names=("a", "b", "c"),
            tile_px=256, tile_side=256.0, mpp=0.5,
        ),
        "predictions/lookalike": Prediction(
            {"tile": np.arange(2), "label": np.array([0, -1], np.int16)}, {"names": ["A"], "examples": [[0]]}
        ),
        "objects/nuclei": ObjectTable([box(1, 2, 2, 3)], notes={"unit": "px"}),
        "tables/redness": Table({"red": np.array([0.4])}),
        "maps/lookalike": LabelMap(np.array([[1, 0]], np.uint8), 256.0, (0.0, 0.0), ("A",), 0.5),
        "page": "<!doctype html>\n<html><body>a -- page</body></html>",
    }  # fmt: skip


def write(folder: Path) -> RunFolder:
    """Write the run."""
    run = RunFolder.create(folder)
    for key, value in values().items():
        made = Provenance.make("example", 1, parameters={"size": 256}, inputs={"slide": "f00"}, slide=ROOT)
        run.put("a", key, value, provenance=made)
    stage = {"name": "tissue", "version": 1, "parameters": {}, "reads": [], "writes": ["tissue"]}
    made = Provenance.make("run", 1, parameters={}, inputs={}, slide=None)
    slides = [{"id": "a", "path": "/slides/a.svs", "mpp": None}]
    run.set_info({"recipe": "survey", "stages": [stage], "slides": slides}, made)
    run.put(None, "report", "<!doctype html>\n<html><body>the run</body></html>", provenance=made)
    run.log(Event("done", "a", "tissue", seconds=0.5, time="2026-11-20T00:00:00.000+00:00"))
    return run


if __name__ == "__main__":
    write(Path(sys.argv[1]))
