"""Small coloured tiles and slides: class `tumour` has dark dots, class `normal` has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SIDE = 32
PATIENTS = 12


def paint(rng: np.random.Generator, side: int, *, dots: bool) -> np.ndarray:
    """Paint tissue, with dark dots or without."""
    import cv2

    tissue = np.clip(rng.normal((225, 170, 200), 8, (side, side, 3)), 0, 255).astype(np.uint8)
    count = (side * side) // 90 if dots else 0
    for x, y in rng.integers(0, side, (count, 2)).tolist():
        cv2.circle(tissue, (x, y), 3, (90, 40, 130), -1)
    return tissue


def paint_tiles(folder: Path) -> Path:
    """Write a table of 80 tiles of two classes, four of each source."""
    import cv2

    rng = np.random.default_rng(0)
    rows = ["path,label,source"]
    (folder / "tiles").mkdir()
    for number in range(80):
        source, dots = number // 4, (number // 4) % 2 == 1
        name = f"tiles/{number:03}.png"
        cv2.imwrite(str(folder / name), paint(rng, SIDE, dots=dots)[..., ::-1])
        rows.append(f"{name},{'tumour' if dots else 'normal'},s{source}")
    table = folder / "tiles.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="session")
def slide_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 12 slides at 1 µm per pixel, every second one with an island of tumour that was drawn."""
    import tifffile

    folder = tmp_path_factory.mktemp("slides")
    rng = np.random.default_rng(1)
    rows = ["slide,patient,path,mpp,label,annotations"]
    for number in range(PATIENTS):
        tumour = number % 2 == 1
        pixels = np.full((768, 768, 3), 244, np.uint8)
        pixels[128:640, 128:640] = paint(rng, 512, dots=False)
        if tumour:
            x, y = rng.integers(4, 9, 2) * 32 + 64
            pixels[y : y + 128, x : x + 160] = paint(rng, 160, dots=True)[:128]
            (folder / f"s{number}.geojson").write_text(json.dumps(drawn(int(x), int(y), 160, 128)))
        tifffile.imwrite(
            folder / f"s{number}.tif", pixels, photometric="rgb", tile=(256, 256), compression="zlib"
        )
        shapes = f"s{number}.geojson" if tumour else ""
        rows.append(f"s{number},p{number},s{number}.tif,1.0,{'tumour' if tumour else 'normal'},{shapes}")
    table = folder / "cohort.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def drawn(x: int, y: int, width: int, height: int) -> dict:
    """Return a rectangle of class tumour as GeoJSON."""
    ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"classification": {"name": "tumour"}},
            }
        ],
    }


@pytest.fixture
def task_file(tmp_path: Path) -> Callable[..., Path]:
    """Write TASK.yaml of plain values."""
    import yaml

    def write(**values: object) -> Path:
        file = tmp_path / "task.yaml"
        file.write_text(yaml.safe_dump({"task": "classify", **values}, sort_keys=False))
        return file

    return write
