"""A small stained slide with results laid over it, and a run that holds it beside one that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from shapely import Point

from coverslip.core import Size
from coverslip.report.findings import Findings
from coverslip.slides import open_slide
from coverslip.slides.slide import Slide
from coverslip.stain import StainMatrix, recombine
from coverslip.store import Event, Features, Prediction, Provenance, RunFolder, SlideRoot, SlideStain
from coverslip.tiles.grid import GridSpec, lay
from coverslip.tissue import Tissue
from coverslip.tissue.quality import FLAGS, Quality
from coverslip.tissue.quality.cells import summarise

WIDTH, HEIGHT, MPP, CELL = 1200, 900, 0.5, 64
STAINS = StainMatrix(("haematoxylin", "eosin"), ((0.65, 0.70, 0.29), (0.10, 0.96, 0.20)), (1.3, 0.8))
HOSTILE = """<script>alert('x')</script>"><img src=http:a onerror=alert(1)>{{7*7}}"""
MEASUREMENTS = tuple(f"measurement_{i}" for i in range(12))


def stained() -> np.ndarray:
    """A round piece of tissue: eosin all over, dark nuclei in places."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = np.hypot(x - 600, y - 450) < 330
    eosin = np.where(inside, 0.35 + 0.1 * np.sin(x / 17) * np.sin(y / 23), 0)
    nuclei = np.where(inside & (np.sin(x / 5) * np.sin(y / 5) > 0.75), 0.9, 0)
    amounts = np.stack([nuclei, eosin], axis=2) + rng.normal(0, 0.01, (HEIGHT, WIDTH, 2))
    return recombine(np.clip(amounts, 0, None).astype(np.float32), STAINS)


@pytest.fixture(scope="session")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "round.tif"
    per_cm = 1e4 / MPP
    options = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, stained(), tile=(256, 256), photometric="rgb", **options)
    return path


@pytest.fixture(scope="session")
def slide(slide_file: Path) -> Iterator[Slide]:
    with open_slide(str(slide_file)) as opened:
        yield opened


@pytest.fixture(scope="session")
def tissue() -> Tissue:
    ring = Point(600, 450).buffer(330).difference(Point(600, 450).buffer(60))
    return Tissue.from_polygons(
        [ring], Size(WIDTH, HEIGHT), 4, method="drawn", notes=("pen marks were left out",)
    )


@pytest.fixture(scope="session")
def quality(tissue: Tissue) -> Quality:
    y, x = (CELL * np.mgrid[: HEIGHT // CELL, : WIDTH // CELL]).reshape(2, -1)
    keep = tissue.share_in(np.stack([x, y], 1), CELL) > 0.3
    x, y = x[keep], y[keep]
    cells = {"x": x, "y": y, "side_px": np.full(len(x), float(CELL)), "focus": (x / WIDTH).astype(np.float32)}
    cells |= {flag: np.zeros(len(x), bool) for flag in FLAGS} | {"blur": x < 400, "fold": y > 650}
    cells |= {"tissue": tissue.share_in(np.stack([x, y], 1), CELL), "stain": np.full(len(x), 0.3)}
    return Quality(cells, summarise(cells, 0.0))


@pytest.fixture(scope="session")
def findings(slide: Slide, tissue: Tissue, quality: Quality) -> Findings:
    tiles = lay(slide, GridSpec(size=64), tissue)
    rng = np.random.default_rng(2)
    labels = (np.arange(len(tiles)) % 3).astype(np.int32)
    values = rng.normal(size=(len(tiles), len(MEASUREMENTS))).astype(np.float32)
    values[:, 0] += 4 * (labels == 2)
    values[3] = np.nan
    features = Features(values, tiles.xy.astype(np.int32), "pathomics", MEASUREMENTS)
    groups = [np.flatnonzero(labels == group)[:5].tolist() for group in range(3)]
    traits = [[], [("eosin_mean", -0.2)], [(MEASUREMENTS[0], 1.9)]]
    told = {"names": ["A", "B", "C"], "examples": groups, "traits": traits}
    columns = {"tile": np.arange(len(tiles), dtype=np.int32), "label": labels}
    alike = Prediction(columns, told)
    return Findings(
        slide.id,
        slide.info(),
        slide.thumbnail(600),
        tissue=tissue,
        quality=quality,
        tiles=tiles,
        stain=SlideStain("macenko", STAINS, tiles=20),
        features=features,
        lookalike=alike,
    )


@pytest.fixture
def run(tmp_path: Path, findings: Findings) -> RunFolder:
    """Three slides: one through, one that failed at its tiles, one that could not be opened."""
    run = RunFolder.create(tmp_path / "my <b>run")
    names = ("round one", "no#tissue?", "broken")
    about = Provenance.make("run", 1, parameters={}, inputs={}, slide=None)
    run.set_info(
        {"recipe": "survey", "slides": [{"id": name, "path": f"/in/{name}.tif"} for name in names]}, about
    )
    root = SlideRoot("d", WIDTH, HEIGHT, "tiff", MPP, "file")
    made = Provenance.make("example", 1, parameters={"size": 64}, inputs={}, slide=root)
    for name in names[:2]:
        run.put(name, "slide", {**findings.info, "id": name}, provenance=made)
        run.put(name, "thumbnail", findings.thumbnail, provenance=made)
        run.log(Event("done", name, "tissue", seconds=0.5))
        run.put(name, "tissue", findings.tissue, provenance=made)
    for key, value in (
        ("tiles", findings.tiles),
        ("stain", findings.stain),
        ("features/pathomics", findings.features),
        ("predictions/lookalike", findings.lookalike),
    ):
        run.put("round one", key, value, provenance=made)
    run.log(
        Event(
            "failed", names[1], "tiles", error="NoTissueError", message="no tile has tissue", mend="lower it"
        )
    )
    run.log(Event("failed", names[2], "open", error="CorruptSlideError", message=f"truncated {HOSTILE}"))
    return run
