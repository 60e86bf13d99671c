"""Measure, query and export a million nuclei.

    python benchmarks/objects.py [--n 1000000] [--slide FILE] [--folder FOLDER] [--json]

Nuclei of 32 vertices lie all over a slide of 30 × 25 mm, or over `--slide`, whose pixels are then measured
too. Each step runs in a process of its own, so that its peak memory is its own: "RSS MB" is that of the
process, Python and libraries included. "CPU s" counts all threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import shapely

from coverslip.interop import ObjectsGeoJSON, write_geojson
from coverslip.measure.objects import PixelSpec, measured, shapes
from coverslip.slides import open_slide
from coverslip.stain import RUIFROK_JOHNSTON
from coverslip.store import ObjectStream, ObjectTable, Provenance, RunFolder
from coverslip.store.query import Query

SIZE, MPP = (60_000, 50_000), 0.5
CLASSES = ("tumour", "stroma", "lymphocyte")
VERTICES, STRIPS = 32, 64
MADE = Provenance.make("benchmark", 1, parameters={}, inputs={}, slide=None)


def strip(number: int, n: int, size: tuple[int, int], mpp: float) -> ObjectTable:
    """Return nuclei of 4 to 8 µm across on one strip of the slide, none over another."""
    rng = np.random.default_rng(number)
    height = size[1] / STRIPS
    pitch = np.sqrt(size[0] * height / n)
    across, down = int(size[0] / pitch), int(np.ceil(n / int(size[0] / pitch)))
    grid = np.stack(np.meshgrid(np.arange(across), np.arange(down)), axis=-1).reshape(-1, 2)[:n]
    centres = (grid + 0.5) * (size[0] / across, height / down) + (0, number * height)
    angle = np.arange(VERTICES) / VERTICES * 2 * np.pi
    radius = rng.uniform(2, 4, (n, 1)) / mpp * (1 + 0.06 * rng.normal(size=(n, VERTICES)))
    stretch = rng.uniform(1, 1.5, (n, 1))
    outline = np.stack([radius * np.cos(angle) * stretch, radius * np.sin(angle)], axis=-1)
    polygons = shapely.polygons(outline + centres[:, None])
    scores, labels = rng.uniform(0.5, 1, n), rng.integers(0, len(CLASSES), n)
    return ObjectTable(polygons, classes=CLASSES, scores=scores, labels=labels, mpp=mpp)


def make(run: RunFolder, n: int, slide: str | None) -> None:
    """Write nuclei as a stage does: a strip at a time."""
    size, mpp = (SIZE, MPP) if slide is None else _facts(slide)

    def strips() -> Iterator[ObjectTable]:
        for number in range(STRIPS):
            yield strip(number, n // STRIPS, size, mpp)

    stream = ObjectStream(strips(), n=STRIPS, classes=CLASSES, mpp=mpp)
    run.put("s", "objects/nuclei", stream, provenance=MADE, replace=True)


def _facts(slide: str) -> tuple[tuple[int, int], float]:
    with open_slide(slide) as opened:
        return tuple(opened.size), float(opened.require_mpp())


def measure_shape(run: RunFolder, _slide: str | None) -> None:
    """Measure shape, and write what comes out."""
    nuclei = run.get("s", "objects/nuclei")
    parts = (table.with_measurements(shapes(table.polygons, MPP)) for table in nuclei.batches())
    stream = ObjectStream(parts, n=nuclei.n_batches, classes=nuclei.classes, mpp=nuclei.mpp)
    run.put("s", "objects/measured", stream, provenance=MADE, replace=True)


def measure_all(run: RunFolder, slide: str | None) -> None:
    """Measure shape, stain and texture."""
    with open_slide(str(slide)) as opened:
        nuclei = run.get("s", "objects/nuclei")
        matrix = RUIFROK_JOHNSTON["H&E"]
        stream = measured(opened, nuclei, matrix=matrix, pixels=PixelSpec(mpp=float(opened.require_mpp())))
        run.put("s", "objects/measured", stream, provenance=MADE, replace=True)


def count(run: RunFolder, _slide: str | None) -> None:
    """Filter."""
    Query(run, "measured", "area_um2 > 25 and class == 'tumour'").count()


def group(run: RunFolder, _slide: str | None) -> None:
    """Filter, group and summarise."""
    asked = "count, mean(area_um2), p90(area_um2), share(eccentricity > 0.7)"
    Query(run, "measured", "area_um2 > 25", ("class", "slide"), asked).rows()


def command(run: RunFolder, _slide: str | None) -> None:
    """Do the same from the command line, starting Python included."""
    words = ["query", str(run.path), "area_um2 > 25", "--objects", "measured", "--by", "class"]
    words += ["--summarise", "count,mean(area_um2)"]
    subprocess.run([sys.executable, "-m", "coverslip", *words], check=True, stdout=subprocess.DEVNULL)


def polygons(run: RunFolder, _slide: str | None) -> None:
    """Export polygons and classes."""
    write_geojson(run.get("s", "objects/measured"), run.path / "a.geojson", ObjectsGeoJSON(measurements=()))


def polygons_gz(run: RunFolder, _slide: str | None) -> None:
    """Export the same, gzipped."""
    target = run.path / "a.geojson.gz"
    write_geojson(run.get("s", "objects/measured"), target, ObjectsGeoJSON(measurements=()))


def polygons_measured(run: RunFolder, _slide: str | None) -> None:
    """Export polygons, classes and five measurements."""
    names = ("area_um2", "perimeter_um", "eccentricity", "solidity", "circularity")
    write_geojson(
        run.get("s", "objects/measured"), run.path / "b.geojson", ObjectsGeoJSON(measurements=names)
    )


STEPS: dict[str, Callable[[RunFolder, str | None], None]] = {
    "measure shape": measure_shape,
    "measure shape, stain, texture": measure_all,
    "query: count": count,
    "query: group": group,
    "coverslip query": command,
    "export geojson": polygons,
    "export geojson.gz": polygons_gz,
    "export geojson, 5 measurements": polygons_measured,
}
TARGETS = {"measure shape": 600, "measure shape, stain, texture": 600, "query: count": 2, "query: group": 2}
TARGETS |= {name: 120 for name in STEPS if name.startswith("export")}


def once(step: str, run: RunFolder, slide: str | None) -> dict[str, float]:
    """Run a step here and return what it cost."""
    begin, cpu = time.perf_counter(), time.process_time()
    STEPS[step](run, slide)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"s": time.perf_counter() - begin, "CPU s": time.process_time() - cpu, "RSS MB": peak}


def main() -> None:
    """Parse the command line and print a row per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--slide")
    parser.add_argument("--folder", type=Path, help="keeps the run; by default it is removed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(once(asked.step, RunFolder(asked.folder), asked.slide)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch) / "run"
        make(RunFolder.create(folder), asked.n, asked.slide)
        steps = [step for step in STEPS if asked.slide or step != "measure shape, stain, texture"]
        rows = [_row(step, folder, asked.slide) for step in steps]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'step':<32}" + "".join(f"{name:>10}" for name in list(rows[0])[1:]))
    for row in rows:
        print(f"{row['step']:<32}" + "".join(f"{value:>10.2f}" for value in list(row.values())[1:]))


def _row(step: str, folder: Path, slide: str | None) -> dict[str, float | str]:
    words = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    words += ["--slide", slide] if slide else []
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {"step": step, **json.loads(said), "must s": TARGETS.get(step, 0)}


if __name__ == "__main__":
    main()
