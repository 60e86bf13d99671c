"""Train the segmenter of tissue types that ships with Coverslip, on phantoms, and ship it.

    python benchmarks/phantom_tissue.py train OUT [--epochs 40] [--slides 84]
    python benchmarks/phantom_tissue.py ship OUT [--to src/coverslip/models/phantoms/tissue]

It serves phantoms only: so that every recipe that needs a model of tissue can be tried and held against a
truth. Slides of people need one that was trained on theirs; this is how such a training looks, but for the
outlines, which somebody must draw.

`train` writes phantoms as SVS and their outlines as QuPath would, cohort and task, and trains; a second call
goes on where the first was stopped. Seeds are those of `SEEDS`; figures are taken on others.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from coverslip.annotations import Annotations, Shape, vectorise
from coverslip.phantom import Phantom, PhantomSpec, make, write_slide

SEEDS = 2000
"""The first; each slide has its own."""

SPARED = 60
"""From this slide on each has both scar and dead tissue, and all are learned from."""

TISSUE = ("gland", "necrosis", "nest", "fibrosis", "fat", "stroma")
"""Classes, the topmost first; what nobody drew on is glass."""

TASK: dict[str, Any] = {
    "task": "segment",
    "cohort": "slides.csv",
    "name": "phantom-tissue",
    "classes": [*TISSUE, "glass"],
    "background": "glass",
    "mpp": 2.0,  # at 4 the fibres of scar and the crumbs of dead tissue look alike
    "tile": 128,
    "network": {"architecture": "unet", "encoder": "tiny", "depth": 3, "width": 8},
    "loss": {"cross-entropy": 1.0},  # Dice draws edges outwards: nests came out 6 % too large
    "tiles_per_epoch": 512,
    "augment": {"stain": 0.06, "light": 0.05},
}
FIT = {"batch_size": 8, "lr": 0.004, "threads": 1, "monitor": "-val_dice", "precision": "bf16", "ema": 0.98}


def spec(seed: int) -> PhantomSpec:
    """Return one of many unlike phantoms."""
    rng = np.random.default_rng(seed)
    both = seed >= SEEDS + SPARED
    grown = seed % 5 < 2 and not both  # glands alone: there are few on each slide
    spared = [0.15, 0.3, 0.45] if both else [0.0, 0.15, 0.3, 0.45]
    shares = rng.dirichlet([1, 1, 1])
    return PhantomSpec(
        width=1600,
        height=1400,
        tissue_share=0.6,
        holes=0.3,
        tumour_share=0.0 if grown else rng.uniform(0.2, 0.7),
        necrosis=rng.choice(spared),
        fibrosis=rng.choice(spared),
        fatty=rng.choice([0.0, 0.0, 0.15]),
        lymphocytes=rng.uniform(0.8, 3.5),
        mitoses=rng.choice([0.0, 0.03]),
        glandular=1.0 if grown else rng.uniform(0.4, 1.0),
        patterns=tuple(shares / shares.sum()) if grown else None,
    )


def outlines(phantom: Phantom, step: int = 2) -> Annotations:
    """Return what is where as somebody with perfect eyes would draw it."""
    truth, size = phantom.truth, phantom.size
    x, y = np.meshgrid(np.arange(step / 2, size.width, step), np.arange(step / 2, size.height, step))
    nests = truth.in_nest(x, y).astype(np.uint8)
    drawn = [(name, part) for name in ("fat", "necrosis", "fibrosis") for part in getattr(truth, name).geoms]
    drawn += [("stroma", part) for part in truth.tissue.geoms]
    drawn += [("gland", type(gland)(gland.exterior)) for gland in truth.glands]
    shapes = [Shape(f"{name} {i}", "polygon", part, name) for i, (name, part) in enumerate(drawn)]
    nest = vectorise(nests, step, classes={"nest": 1}, tolerance=1.0).shapes
    shapes += [replace(shape, id=f"nest {i}") for i, shape in enumerate(nest)]
    return Annotations(tuple(shapes))


def train(folder: Path, epochs: int, slides: int) -> None:
    """Write slides, outlines, cohort and task into a folder, and train."""
    from coverslip.learn.task import load_task

    rows = ["slide,path,annotations,split"]
    for number in range(slides):
        held = {0: "test", 1: "val", 2: "val"} if number < SPARED else {}
        name, part = f"p{number}", held.get(number % 11, "train")
        rows.append(f"{name},{name}.svs,{name}.geojson,{part}")
        if not (folder / f"{name}.geojson").exists():
            phantom = make(spec(SEEDS + number), SEEDS + number)
            write_slide(phantom, folder / f"{name}.svs", threads=1)
            outlines(phantom).write(folder / f"{name}.geojson", "geojson")
    (folder / "slides.csv").write_text("\n".join(rows) + "\n")
    (folder / "task.yaml").write_text(
        yaml.safe_dump({**TASK, "fit": {**FIT, "epochs": epochs}}, sort_keys=False)
    )
    begin = time.process_time()
    load_task(folder / "task.yaml").train(folder / "run", listen=told)
    print((folder / "run" / "evaluation" / "phantom-tissue.json").read_text())
    print(f"{time.process_time() - begin:.0f} s of CPU")


def told(what: Any) -> None:
    """Print what a training says."""
    values = {k: round(v, 4) if isinstance(v, float) else v for k, v in what.values.items()}
    print(time.strftime("%T"), what.what, what.done, what.total, values, flush=True)


def ship(folder: Path, target: Path) -> None:
    """Write the trained model with weights of half precision."""
    from safetensors.torch import load_file

    from coverslip.models.folder import WEIGHTS, ModelFolder

    made = ModelFolder.load(folder / "run" / "models" / "phantom-tissue")
    state = load_file(made.path / WEIGHTS)
    halved = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    trained_on = {
        "name": f"phantoms of seeds from {SEEDS} on; for phantoms only",
        "command": "python benchmarks/phantom_tissue.py train OUT, then ship",
    }
    card = replace(made.card, licence="CC0-1.0", stain="H&E", trained_on=trained_on)
    done = ModelFolder.save(target, halved, card)
    size = sum(file.stat().st_size for file in done.path.iterdir())
    print(json.dumps({"weights": done.digest, "bytes": size, "metrics": dict(card.metrics)}))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=("train", "ship"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--slides", type=int, default=84)
    parser.add_argument("--to", type=Path, default=Path("src/coverslip/models/phantoms/tissue"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.what == "train":
        train(given.out, given.epochs, given.slides)
    else:
        ship(given.out, given.to)


if __name__ == "__main__":
    main()
