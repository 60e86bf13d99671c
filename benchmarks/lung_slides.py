"""Slides laid of real lung tiles, with known tumour: built, and told apart in all three ways.

    python benchmarks/lung_slides.py build --data DATA OUT    60 training and 30 test slides, cohort.csv
    python benchmarks/lung_slides.py run OUT RUN              train, test, and print the table

Each slide is a mosaic of 16 × 16 pictures of LC25000 (224 px, turned and mirrored), the corners cut off so
that tissue is round, shifted so that no tile of ours lies on a seam. Normal slides hold benign lung alone;
tumour slides an island of adenocarcinoma or squamous carcinoma of 1 to 20 % of the tissue, whose outline is
written as GeoJSON. Training slides hold sources of lc25000_lung_train.zip alone (the 12 that choose the epoch
others than the 48 that train), test slides those of lc25000_lung_val.zip.

What learns: method `tiles` sees the outlines, as annotators drew them for CAMELYON (tumour is tumour, the
rest of a tumour slide and the whole of a normal one are normal), method `slide` the label of the slide alone.
Method `bags` sees the labels of slides and features of tiles, twice: of the network that `tiles` trained (on
the 48 training slides, no others), and of a network of the same shape with random weights.
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

CELLS, SIDE, MPP = 16, 224, 0.5
PARTS = {"train": 48, "val": 12, "test": 30}
SHARES = (0.01, 0.20)

TILES = """task: classify
method: tiles
cohort: cohort.csv
target: label
size: 64
mpp: 1.0
tiles: {learn_from: both, outside: normal, most: 60}
votes: {rule: top-k, top: 10, also: [mean, max, majority, noisy-or]}
network: {parameters: {width: 24}}
split: {how: table}
final: first
fit: {epochs: 12, batch_size: 64, lr: 0.003}
"""
SHRUNK = """task: classify
method: slide
cohort: cohort.csv
target: label
size: 256
network: {parameters: {width: 24}}
split: {how: table}
final: first
fit: {epochs: 60, batch_size: 16, lr: 0.002}
"""
BAGS = """task: classify
method: bags
cohort: cohort.csv
features: {features}
encoder: {encoder}
targets: {{column: label, kind: binary, classes: [normal, tumour]}}
aggregator: {aggregator}
split: {{how: table}}
final: first
fit: {{epochs: 40, patience: 15}}
"""
AGGREGATORS = ("abmil", "max", "mean")


# ------------------------------------------------------------------ building
def pictures(data: Path) -> dict[str, dict[str, list[np.ndarray]]]:
    """Return pictures by part and kind (``normal``, ``tumour``): no source stands in two parts."""
    with (data / "tiles" / "lc25000_lung_index.csv").open() as file:
        rows = list(csv.DictReader(file))
    found: dict[str, dict[str, list[np.ndarray]]] = {p: {"normal": [], "aca": [], "scc": []} for p in PARTS}
    held = {c for i, c in enumerate(sorted({r["source_tile_cluster"] for r in rows})) if i % 5 == 0}
    for name in ("train", "val"):
        with zipfile.ZipFile(data / "tiles" / f"lc25000_lung_{name}.zip") as archive:
            for row in (r for r in rows if r["split"] == name):
                part = "test" if name == "val" else "val" if row["source_tile_cluster"] in held else "train"
                raw = np.frombuffer(archive.read(row["file"]), np.uint8)
                kind = {"lung_n": "normal"}.get(row["label"], row["label"].removeprefix("lung_"))
                found[part][kind].append(cv2.imdecode(raw, cv2.IMREAD_COLOR)[..., ::-1])
    return found


def island(rng: np.random.Generator, tissue: np.ndarray, share: float) -> np.ndarray:
    """Grow one connected island over `share` of the cells that are tissue."""
    wanted = max(1, round(share * tissue.sum()))
    grown = np.zeros_like(tissue)
    cells = np.argwhere(tissue)
    grown[tuple(cells[rng.integers(len(cells))])] = True
    while grown.sum() < wanted:
        near = cv2.dilate(grown.astype(np.uint8), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)) > 0
        edge = np.argwhere(near & tissue & ~grown)
        grown[tuple(edge[rng.integers(len(edge))])] = True
    return grown


def mosaic(
    rng: np.random.Generator, kinds: dict[str, list[np.ndarray]], tumour: np.ndarray | None, kind: str
) -> tuple[np.ndarray, tuple[int, int]]:
    """Lay a slide; return its pixels, and where its first cell lies."""
    left, top = (int(v) for v in rng.integers(40, 200, 2))
    extent = CELLS * SIDE + 240
    pixels = np.full((extent, extent, 3), 243, np.uint8)
    for row, column in np.argwhere(round_tissue()).tolist():
        choice = kinds[kind if tumour is not None and tumour[row, column] else "normal"]
        picture = np.rot90(choice[rng.integers(len(choice))], rng.integers(4))
        picture = picture[:, ::-1] if rng.integers(2) else picture
        y, x = top + row * SIDE, left + column * SIDE
        pixels[y : y + SIDE, x : x + SIDE] = picture
    return pixels, (left, top)


def round_tissue() -> np.ndarray:
    """Return which cells are tissue: a disc."""
    y, x = np.mgrid[:CELLS, :CELLS] - (CELLS - 1) / 2
    return np.asarray(y**2 + x**2 <= (CELLS / 2 + 0.3) ** 2)


def outline(tumour: np.ndarray, corner: tuple[int, int]) -> dict[str, Any]:
    """Return the island's outline as GeoJSON, in level-0 pixels."""
    from shapely import box, unary_union
    from shapely.geometry import mapping

    left, top = corner
    cells = [
        box(left + c * SIDE, top + r * SIDE, left + (c + 1) * SIDE, top + (r + 1) * SIDE)
        for r, c in np.argwhere(tumour).tolist()
    ]
    feature = {"type": "Feature", "properties": {"classification": {"name": "tumour"}}}
    return {"type": "FeatureCollection", "features": [{**feature, "geometry": mapping(unary_union(cells))}]}


def build(data: Path, out: Path) -> None:
    """Write slides, outlines, cohort.csv and the two tasks."""
    import tifffile

    out.mkdir(parents=True, exist_ok=True)
    found = pictures(data)
    rows = ["slide,patient,path,mpp,label,split,annotations,share"]
    for number, part in enumerate(p for p, count in PARTS.items() for _ in range(count)):
        rng = np.random.default_rng([7, number])
        sick, name = number % 2 == 1, f"{part}{number:02}"
        share = float(rng.uniform(*SHARES)) if sick else 0.0
        tumour = island(rng, round_tissue(), share) if sick else None
        pixels, corner = mosaic(rng, found[part], tumour, ("aca", "scc")[number // 2 % 2])
        if tumour is not None:
            (out / f"{name}.geojson").write_text(json.dumps(outline(tumour, corner)))
        tifffile.imwrite(
            out / f"{name}.tif", pixels, photometric="ycbcr", tile=(256, 256), compression="jpeg",
            compressionargs={"level": 90}, resolution=(1e4 / MPP, 1e4 / MPP), resolutionunit="CENTIMETER",
        )  # fmt: skip
        shapes = f"{name}.geojson" if sick else ""
        label = "tumour" if sick else "normal"
        rows.append(f"{name},p{number},{name}.tif,{MPP},{label},{part},{shapes},{share:.4f}")
    (out / "cohort.csv").write_text("\n".join(rows) + "\n")
    (out / "tiles.yaml").write_text(TILES)
    (out / "slide.yaml").write_text(SHRUNK)


# ------------------------------------------------------------------ measuring
def truth_of_tiles(out: Path, run: Any, slide: str) -> np.ndarray:
    """Return which tiles of a slide are at least half tumour."""
    from coverslip.annotations import Annotations
    from coverslip.learn.classify.cut import covered

    tiles = run.get(slide, "tiles")
    file = out / f"{slide}.geojson"
    if not file.exists():
        return np.zeros(len(tiles), bool)
    return np.asarray(covered(tiles, Annotations.read(file), "tumour") >= 0.5)


def heat(out: Path, run: Any) -> dict[str, float]:
    """Return how well the maps tell tumour from the rest, over all tiles of all test slides."""
    from sklearn.metrics import roc_auc_score

    truth, said = [], []
    for slide in run.get(None, "predictions/label")["slide"].tolist():
        found, tiles = run.get(slide, "maps/label"), run.get(slide, "tiles")
        middle = ((tiles.xy + tiles.side_px / 2) / found.downsample).astype(int)
        whole = found.read()[found.classes.index("tumour")]
        truth.append(truth_of_tiles(out, run, slide))
        said.append(whole[middle[:, 1], middle[:, 0]])
    both, chances = np.concatenate(truth), np.concatenate(said)
    return {"tiles": float(len(both)), "auroc": float(roc_auc_score(both, chances))}


def rows_of(run: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield what a run's targets reach, with intervals by patient."""
    from coverslip.evaluate import evaluate_run

    for key in run.keys(None):
        if key.startswith("predictions/"):
            found = evaluate_run(run, key.partition("/")[2])
            what = key.partition("/")[2].partition(".")[2] or "rule of the task"
            yield f"{name}, {what}", f"AUROC {found['auroc']}, accuracy {found['accuracy']}"


def measure(out: Path, folder: Path, threads: int) -> None:
    """Train all methods and print the table."""
    learned(out, folder, ("tiles", "tiles"), threads)
    print("heat map against truth:", heat(out, _run(folder / "tiles")), flush=True)
    learned(out, folder, ("slide", "slide"), threads)
    trained = folder / "tiles" / "models" / "label"
    for kind, model in (("trained", trained), ("random", untrained(trained, folder / "random"))):
        start = time.perf_counter(), time.process_time()
        encoder = embedded(out, folder / f"features-{kind}", model, threads)
        print(f"features, {kind}: {_spent(start)}", flush=True)
        for aggregator in AGGREGATORS:
            name = f"bags-{kind}-{aggregator}"
            text = BAGS.format(
                features=(folder / f"features-{kind}").resolve(), encoder=encoder, aggregator=aggregator
            )
            (out / f"{name}.yaml").write_text(text)
            learned(out, folder, (name, f"{aggregator} on {kind} features"), threads)


def learned(out: Path, folder: Path, name: tuple[str, str], threads: int) -> None:
    """Train one task and print what it reaches on the test slides."""
    from dataclasses import replace

    from coverslip.learn import load_task
    from coverslip.learn.fit import with_device

    start = time.perf_counter(), time.process_time()
    task: Any = load_task(out / f"{name[0]}.yaml")
    replace(task, fit=with_device(task.fit, threads=threads)).train(folder / name[0])
    for what, figures in rows_of(_run(folder / name[0]), name[1]):
        print(f"{what}: {figures}", flush=True)
    print(f"{name[1]}: {_spent(start)}", flush=True)


def embedded(out: Path, folder: Path, model: Path, threads: int) -> str:
    """Compute features of all slides with a model folder as encoder; return what they are called."""
    from coverslip.models.folder import ModelFolder
    from coverslip.models.folder_encoder import encoder_name
    from coverslip.pipeline import Execution, Recipe, run_recipe
    from coverslip.slides import find_slides

    tiles = {"mpp": 1.0, "size": 64, "quality": False}
    stages = ["tissue", {"tiles": tiles}, {"embed": {"model": str(model), "threads": threads}}]
    recipe = Recipe.from_dict({"name": "embed", "stages": stages}, source=str(model))
    found = run_recipe(recipe, find_slides([str(out / "cohort.csv")]), folder, execution=Execution(workers=0))
    if not found.ok:
        raise SystemExit(f"features of some slides could not be made: see {folder}")
    return encoder_name(ModelFolder.load(model))


def untrained(model: Path, path: Path) -> Path:
    """Save a model of the same shape with random weights."""
    import torch

    from coverslip.models.classifiers import build_classifier
    from coverslip.models.folder import ModelFolder

    card = ModelFolder.load(model).card
    torch.manual_seed(0)
    network = build_classifier(card.architecture, len(card.classes), card.parameters)
    ModelFolder.save(path, network.state_dict(), card)
    return path


def _run(path: Path) -> Any:
    from coverslip.store import RunFolder

    return RunFolder(path)


def _spent(start: tuple[float, float]) -> str:
    return f"{time.perf_counter() - start[0]:.0f} s, {time.process_time() - start[1]:.0f} s CPU"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("build")
    one.add_argument("out", type=Path)
    one.add_argument("--data", type=Path, required=True)
    two = verbs.add_parser("run")
    two.add_argument("out", type=Path)
    two.add_argument("run", type=Path)
    two.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if given.verb == "build":
        build(given.data, given.out)
    else:
        measure(given.out, given.run, given.threads)


if __name__ == "__main__":
    main()
