"""A run with a million objects, for measuring the viewer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import shapely

from coverslip.slides import open_slide
from coverslip.store import ObjectStream, ObjectTable, Provenance, RunFolder

STRIPS = 50
CLASSES, MEASURED = ("tumour", "stroma", "lymphocyte"), ("area_um2", "roundness")
MADE = Provenance.make("benchmark", 1, parameters={}, inputs={}, slide=None)


@contextmanager
def folder_of(named: str | None) -> Iterator[Path]:
    """Give the folder that was named, or one that goes away."""
    if named:
        yield Path(named)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def linked(folder: Path, slide: str, count: int) -> list[str]:
    """Give a slide many names."""
    names = [folder / f"slide{number}{Path(slide).suffix}" for number in range(count)]
    for name in names:
        if not name.exists():
            name.symlink_to(Path(slide).absolute())
    return [str(name) for name in names]


def make_run(folder: Path, slides: Sequence[str], n: int) -> Path:
    """Write a run whose first slide has `n` nuclei of 16 vertices and two measurements."""
    if (folder / "run" / "run.json").exists():
        return folder / "run"
    run = RunFolder.create(folder / "run")
    listed = [{"id": Path(one).stem, "path": str(Path(one).absolute()), "mpp": 0.5} for one in slides]
    run.set_info({"recipe": "benchmark", "slides": listed}, MADE)
    for one in listed:
        (run.path / "slides" / one["id"]).mkdir(parents=True, exist_ok=True)
    with open_slide(slides[0]) as slide:
        size = slide.size
    stream = ObjectStream(_strips(n, size), n=STRIPS, classes=CLASSES, measurements=MEASURED, mpp=0.5)
    run.put(listed[0]["id"], "objects/nuclei", stream, provenance=MADE)
    return run.path


def _strips(n: int, size: tuple[int, int]) -> Iterator[ObjectTable]:
    """Yield nuclei strip by strip, as a stage does."""
    angle = np.arange(16) / 16 * 2 * np.pi
    for number in range(STRIPS):
        rng = np.random.default_rng(number)
        count = n // STRIPS
        high = size[1] / STRIPS
        centre = rng.uniform((20, number * high), (size[0] - 20, (number + 1) * high), (count, 2))
        radius = rng.uniform(5, 10, (count, 1)) * (1 + 0.08 * rng.normal(size=(count, 16)))
        outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        yield ObjectTable(
            shapely.polygons(outline + centre[:, None]), classes=CLASSES,
            labels=rng.integers(0, 3, count).astype(np.int32), scores=rng.uniform(0.5, 1, count),
            measurements={"area_um2": (radius.mean(axis=1) ** 2 * np.pi * 0.25).astype(np.float32),
                          "roundness": rng.uniform(0.6, 1, count).astype(np.float32)}, mpp=0.5,
        )  # fmt: skip
