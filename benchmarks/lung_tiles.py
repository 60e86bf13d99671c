"""Lung tiles of LC25000, from scratch, on sources never seen: the figure of the classifier of tiles.

    python benchmarks/lung_tiles.py choose --data DATA FOLDER    compare settings on training sources alone
    python benchmarks/lung_tiles.py run --data DATA FOLDER       coverslip train, then predict the others

`run` trains five folds by source on lc25000_lung_train.zip with nothing but TASK below, keeps them as a
committee, and predicts lc25000_lung_val.zip, whose sources took no part in anything. `choose` trains each
candidate once and reports it on held-out sources of the training archive; the other is never looked at.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import yaml

TASK: dict[str, Any] = {
    "task": "classify",
    "method": "tiles",
    "cohort": "train.csv",
    "target": "label",
    "split": {"how": "folds", "folds": 5, "val": 0.0},
    "final": "committee",
}
CANDIDATES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "mixup": {"loss": {"mixup": 0.2}},
    "mixup, zoom": {"loss": {"mixup": 0.2}, "augment": {"zoom": 1.4, "rotate": 0.7}},
    "without texture": {"network": {"texture": False}},
    "crops": {"size": 224, "augment": {"crop": 0.714}, "fit": {"epochs": 48}},
    "160 px": {"size": 160},
    "160 px, mixup": {"size": 160, "loss": {"mixup": 0.2}},
}


def unpack(data: Path, folder: Path) -> None:
    """Extract both archives and write train.csv and val.csv with sources."""
    folder.mkdir(parents=True, exist_ok=True)
    with (data / "tiles" / "lc25000_lung_index.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train", "val"):
        with zipfile.ZipFile(data / "tiles" / f"lc25000_lung_{name}.zip") as archive:
            archive.extractall(folder / name)
        lines = [
            f"{name}/{r['file']},{r['label']},{r['source_tile_cluster']}" for r in rows if r["split"] == name
        ]
        (folder / f"{name}.csv").write_text("\n".join(["path,label,source", *lines]) + "\n")


def accuracy(folder: Path, predictions: Path) -> float:
    """Return the share of val.csv that was called right."""
    with (folder / "val.csv").open() as file:
        truth = {str(folder / row["path"]): row["label"] for row in csv.DictReader(file)}
    with predictions.open() as file:
        said = {row["path"]: row["label"] for row in csv.DictReader(file)}
    return sum(said[path] == label for path, label in truth.items()) / len(truth)


def run(folder: Path, threads: int) -> None:
    """Train and predict by the command line, and print accuracy and time."""
    (folder / "task.yaml").write_text(yaml.safe_dump(TASK))
    start = time.perf_counter()
    made = folder / "run"
    command("train", folder / "task.yaml", "-o", made, "--threads", threads)
    spent = time.perf_counter() - start
    out = folder / "val_predictions.csv"
    command("predict", made / "models" / "label", folder / "val.csv", "-o", out, "--threads", threads)
    print(f"accuracy on sources never seen: {accuracy(folder, out):.4f}; training took {spent / 60:.1f} min")


def choose(folder: Path, threads: int) -> None:
    """Print each candidate's accuracy on the test sources of the first fold."""
    from coverslip.learn.task import task_of

    split = {"how": "holdout", "test": 0.25, "val": 0.0}
    for name, changes in CANDIDATES.items():
        values = {**TASK, **changes, "split": split, "final": "first"}
        fit = {**changes.get("fit", {}), "threads": threads}
        task: Any = task_of({**values, "fit": fit}, folder=folder)
        start = time.perf_counter()
        made = task.train(folder / "choose" / name.replace(" ", "").replace(",", "-"))
        print(
            f"{name}: {made.summary['label']['accuracy']:.4f} in {time.perf_counter() - start:.0f} s",
            flush=True,
        )


def command(*words: object) -> None:
    """Run a command line of Coverslip."""
    subprocess.run([sys.executable, "-m", "coverslip", *map(str, words)], check=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["choose", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    unpack(given.data, given.folder)
    {"choose": choose, "run": run}[given.verb](given.folder, given.threads)


if __name__ == "__main__":
    main()
