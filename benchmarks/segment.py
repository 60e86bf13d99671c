"""Train segmenters on slides with known truth, and measure them on what they never saw.

    python benchmarks/segment.py phantoms OUT [--epochs 24]
    python benchmarks/segment.py lung OUT --data DIR [--epochs 14]
    python benchmarks/segment.py stitched OUT

`phantoms`: nests of tumour and glands on phantom slides; their shapes are known, so they are written as
QuPath would export them. The outline that the phantom calls tumour also holds stroma that looks as any
other, so what can be seen is asked for: the nests of tumour cells within it.

`lung`: slides laid like mosaics out of real tiles (LC25000), in regions of one class each; slides to train on
hold tiles of other source pictures than slides to test on.

`stitched`, after `phantoms` in the same OUT: tiles stitched, against one pass over a picture of 4096 pixels.

Each writes its cohort, task and run into OUT, and prints the figures as JSON; a second call goes on where
the first was stopped. One thread: as the machine stands, minutes to an hour each.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from coverslip.annotations import Annotations, Shape, vectorise

TASK: dict[str, Any] = {
    "task": "segment",
    "cohort": "slides.csv",
    "tile": 256,
    "network": {"architecture": "unet", "encoder": "small", "width": 16},
}
FIT = {"batch_size": 8, "lr": 0.002, "threads": 1, "monitor": "-val_dice", "precision": "bf16", "ema": 0.98}


# ------------------------------------------------------------------ phantoms
PHANTOMS, SIDE = 12, 3000


def phantoms(folder: Path, _data: Path | None, epochs: int) -> dict[str, Any]:
    """Return Dice of nests of tumour and of glands on three phantoms held back."""
    rows = []
    for number in range(PHANTOMS):
        part = "train" if number < PHANTOMS - 4 else "val" if number < PHANTOMS - 3 else "test"
        rows.append((f"p{number}", f"p{number}.svs", f"p{number}.geojson", part))
        if not (folder / f"p{number}.geojson").exists():
            _phantom(folder / f"p{number}", 100 + number)
    task = {
        "classes": ["gland", "tumour", "other"],
        "background": "other",
        "mpp": 1.0,
        "name": "regions",
        "tiles_per_epoch": 128,
        "fit": {**FIT, "epochs": epochs},
    }
    return trained(folder, rows, {**TASK, **task})


def _phantom(path: Path, seed: int) -> None:
    from coverslip.phantom import PhantomSpec, make, write_slide

    spec = PhantomSpec(SIDE, SIDE, mpp=0.5, tissue_share=0.5, tumour_share=0.35, glandular=0.9)
    phantom = make(spec, seed)
    write_slide(phantom, path.with_suffix(".svs"))
    shapes = [
        Shape(f"gland {i}", "polygon", type(gland)(gland.exterior), "gland")
        for i, gland in enumerate(phantom.truth.glands)
    ]
    shapes += nests(phantom).shapes
    Annotations(tuple(shapes)).write(path.with_suffix(".geojson"), "geojson")


def nests(phantom: Any, step: int = 2) -> Annotations:
    """Return the nests of tumour cells, lumens filled, traced at `step` level-0 pixels."""
    scene = phantom.painter.scene
    side = np.arange(step / 2, SIDE, step)
    x, y = np.meshgrid(side, side)
    inside = (scene.distance("tumour", x, y) > scene.px(4.5)) & (scene.nests(x, y) > 1 / 14)
    return vectorise(inside.astype(np.uint8), step, classes={"tumour": 1}, tolerance=1.0)


# ------------------------------------------------------------------ lung
LUNG = ("lung_aca", "lung_n", "lung_scc")
ACROSS, TILE = 16, 224


def lung(folder: Path, data: Path | None, epochs: int) -> dict[str, Any]:
    """Return Dice by class on slides made of tiles whose source pictures trained nothing."""
    if data is None:
        raise SystemExit("lung needs --data DIR")
    rows = []
    wanted = [("train", i) for i in range(8)] + [("val", i) for i in range(3)]
    for part, number in wanted:
        name = f"{part}{number}"
        # tiles of the part called val are the test here; one of the slides of the others validates
        split = "test" if part == "val" else "val" if number == 7 else "train"
        rows.append((name, f"{name}.tif", f"{name}.geojson", split))
        if not (folder / f"{name}.geojson").exists():
            mosaic(data / "tiles", part, number, of=8 if part == "train" else 1).write(folder / name)
    task = {
        "classes": [*LUNG],
        "mpp": 2.0,
        "context": {"mpp": 8},  # a tile of one source is judged by its neighbours, too
        "name": "lung",
        "tiles_per_epoch": 256,
        "augment": {"stain": 0.2, "light": 0.15},
        "fit": {**FIT, "epochs": epochs},
    }
    return trained(folder, rows, {**TASK, **task}, mpp=1.0)


class Mosaic:
    """A slide of real tiles, laid in regions of one class each.

    Attributes
    ----------
    pixels
        (h, w, 3) uint8.
    regions
        Class of every pixel: 0 glass, 1 … the classes of `LUNG`.
    """

    def __init__(self, pixels: NDArray[np.uint8], regions: NDArray[np.uint8]) -> None:
        self.pixels, self.regions = pixels, regions

    def write(self, path: Path) -> None:
        """Write the slide as tiled TIFF and its regions as QuPath GeoJSON."""
        import tifffile

        tifffile.imwrite(
            path.with_suffix(".tif"), self.pixels, tile=(256, 256), photometric="rgb", compression="jpeg",
            compressionargs={"level": 90}, resolution=(10_000, 10_000), resolutionunit="CENTIMETER",
        )  # fmt: skip
        classes = {name: number for number, name in enumerate(LUNG, 1)}
        drawn = vectorise(self.regions[::4, ::4], 4.0, classes=classes, tolerance=8.0)
        drawn.write(path.with_suffix(".geojson"), "geojson", overwrite=True)


def mosaic(tiles: Path, part: str, number: int, *, of: int) -> Mosaic:
    """Lay a slide; of several slides of a part each gets other source pictures as far as there are any."""
    rng = np.random.default_rng([number, len(part)])
    side = ACROSS * TILE
    fields = [_smooth(rng, side // 8, 60) for _ in LUNG]
    classes = np.argmax(fields, axis=0).astype(np.uint8) + 1
    y, x = np.mgrid[0 : side // 8, 0 : side // 8] / (side // 8) - 0.5
    glass = np.hypot(x, y) + 0.03 * _smooth(rng, side // 8, 40) > 0.47
    classes[glass] = 0
    regions = cv2.resize(classes, (side, side), interpolation=cv2.INTER_NEAREST)
    pixels = np.full((side, side, 3), 243, np.uint8)
    drawn = {name: _endless(tiles, part, name, number, of=of) for name in LUNG}
    for row in range(ACROSS):
        for column in range(ACROSS):
            place = slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE)
            for value, name in enumerate(LUNG, 1):
                here = regions[place] == value
                if here.any():
                    pixels[place][here] = next(drawn[name])[here]
    return Mosaic(pixels, regions)


def _smooth(rng: np.random.Generator, side: int, feature: float) -> NDArray[np.float64]:
    field = cv2.GaussianBlur(
        rng.standard_normal((side, side)), (0, 0), feature, borderType=cv2.BORDER_REFLECT
    )
    return (field - field.mean()) / field.std()


def _endless(tiles: Path, part: str, name: str, number: int, *, of: int) -> Iterator[NDArray[np.uint8]]:
    """Yield tiles of a class in an order of the slide's own, turned at random, again and again."""
    with (tiles / "lc25000_lung_index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == name and row["split"] == part]
    clusters = sorted({row["source_tile_cluster"] for row in rows})[number % of :: of]
    files = [row["file"] for row in rows if row["source_tile_cluster"] in set(clusters)]
    rng = np.random.default_rng([number, len(name)])
    with zipfile.ZipFile(tiles / f"lc25000_lung_{part}.zip") as archive:
        while True:
            for index in rng.permutation(len(files)):
                image = cv2.imdecode(
                    np.frombuffer(archive.read(files[index]), np.uint8), cv2.IMREAD_COLOR_RGB
                )
                yield np.rot90(image, int(rng.integers(4)))


# ------------------------------------------------------------------ stitching
def stitched(folder: Path, _data: Path | None, side: int) -> dict[str, Any]:
    """Compare tiles, read with the margin and stitched, with one pass over a picture of `side` pixels.

    `folder` is that of `phantoms`, whose model is taken. Strips of tiles that are done, and the one pass, are
    kept there. The one pass over 4096 pixels takes about 6 GB.
    """
    from coverslip.core import Box
    from coverslip.learn.segment.infer import suggested_grid
    from coverslip.models.folder import ModelFolder
    from coverslip.models.segmenters_run import Segmenter
    from coverslip.phantom import PhantomSpec, make, write_slide
    from coverslip.slides import open_slide
    from coverslip.tiles import lay

    model = ModelFolder.load(folder / "run" / "models" / "regions")
    segmenter = Segmenter.load(model, threads=2)
    path, kept = folder / f"large-{side}.svs", folder / f"once-{side}.npy"
    if not path.exists():
        spec = PhantomSpec(side, side, mpp=1.0, tissue_share=0.6, tumour_share=0.4, glandular=0.9)
        write_slide(make(spec, 77), path)
    margin = int(model.card.preprocessing["margin_px"])
    with open_slide(path) as slide:
        tiles = lay(slide, suggested_grid(1.0, segmenter.multiple))
        begin = time.process_time()
        tiled = _tiled(segmenter, slide, tiles, folder / f"stitched-{side}", margin=margin)
        in_tiles = time.process_time() - begin
        pixels = slide.read_at(Box(0, 0, side, side), 1.0)
    begin = time.process_time()
    if not kept.exists():
        np.save(kept, segmenter.probabilities(pixels[None])[0])
    at_once = time.process_time() - begin
    difference = np.abs(tiled - np.load(kept)).max(axis=0)
    cv2.imwrite(str(folder / f"stitched-{side}.png"), _shown(pixels, tiled, segmenter.classes)[..., ::-1])
    return {
        "side": side,
        "margin": margin,
        "tiles": len(tiles),
        "cpu_seconds_in_tiles": in_tiles,  # less, where an earlier call left strips or the one pass
        "cpu_seconds_at_once": at_once,
        "largest_difference_inside": float(difference[256:-256, 256:-256].max()),
        "largest_difference_anywhere": float(difference.max()),
        "at_seams_over_elsewhere": _at_seams(difference, tiles.spec.step),
    }


def _tiled(segmenter: Any, slide: Any, tiles: Any, folder: Path, *, margin: int) -> NDArray[np.float32]:
    """Segment the tiles and stitch them; goes on after the last whole strip."""
    from coverslip.learn.segment.infer import segmented
    from coverslip.store import MapStream, Provenance, RunFolder
    from coverslip.tiles import MapSpec

    def results(todo: Any) -> Any:
        for part in segmented(segmenter, slide, tiles.take(todo), margin=margin, batch=1):
            yield todo[part.index], part.probabilities, part.missing

    run = RunFolder.create(folder)
    spec = MapSpec(segmenter.classes, dtype="float32")
    if not run.has("large", "maps/tiled"):
        made = Provenance.make("stitched", 1, parameters={}, inputs={}, slide=None)
        run.put("large", "maps/tiled", MapStream(slide, tiles, spec, results), provenance=made)
    found: NDArray[np.float32] = run.get("large", "maps/tiled").read()
    return found


def _at_seams(difference: NDArray[np.float32], step: int) -> float:
    """Return by what factor differences are larger, on average, within 2 pixels of where tiles begin."""
    inside = difference[256:-256, 256:-256]
    at = (np.arange(256, len(difference) - 256) + 2) % step < 4
    near = at[:, None] | at[None]
    return float(inside[near].mean() / max(float(inside[~near].mean()), 1e-12))


def _shown(
    pixels: NDArray[np.uint8], tiled: NDArray[np.float32], classes: tuple[str, ...]
) -> NDArray[np.uint8]:
    """Return picture and probabilities side by side, a quarter as large: red tumour, green gland."""
    colours = {"tumour": (220, 0, 0), "gland": (0, 170, 0)}
    mixed = sum(
        tiled[i][..., None] * np.array(colours.get(name, (235, 235, 235))) for i, name in enumerate(classes)
    )
    both = np.concatenate([pixels, np.asarray(mixed, np.uint8)], axis=1)
    return np.asarray(cv2.resize(both, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.uint8)


# ------------------------------------------------------------------ training
def trained(
    folder: Path, rows: list[tuple[str, ...]], task: dict[str, Any], mpp: float | None = None
) -> dict[str, Any]:
    """Write cohort and task, train, and return the figures of the slides held back."""
    from coverslip.learn.task import load_task

    head = ["slide", "path", "annotations", "split", *(["mpp"] if mpp else [])]
    with (folder / "slides.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *([*row, *([mpp] if mpp else [])] for row in rows)])
    (folder / "task.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    since, cpu = time.perf_counter(), time.process_time()
    load_task(folder / "task.yaml").train(folder / "run", listen=_told)
    record = json.loads((folder / "run" / "evaluation" / f"{task['name']}.json").read_text())
    spent = {"seconds": time.perf_counter() - since, "cpu_seconds": time.process_time() - cpu}
    return {**record["pooled"], **spent}


def _told(told: Any) -> None:
    values = {k: round(v, 4) if isinstance(v, float) else v for k, v in told.values.items()}
    print(time.strftime("%T"), told.what, told.done, told.total, values, flush=True)


WORK = {
    "phantoms": (phantoms, 24),
    "lung": (lung, 14),
    "stitched": (stitched, 4096),
}
"""Name → what is done, and how many epochs it takes (of `stitched`: pixels of the picture's side)."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=WORK)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="folder of the real data")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    work, epochs = WORK[given.what]
    given.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps(work(given.out, given.data, given.epochs or epochs), indent=1))


if __name__ == "__main__":
    main()
