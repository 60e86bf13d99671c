"""Train, ship and judge the nuclei model.

    python benchmarks/nuclei.py train   --data DATA/nuclei -o WORK [--steps N]
    python benchmarks/nuclei.py ship    --data DATA/nuclei -o WORK [--to FOLDER]
    python benchmarks/nuclei.py score   --data DATA/nuclei [--model FOLDER] [--part val]
    python benchmarks/nuclei.py borders [--side 4096]
    python benchmarks/nuclei.py million [--count 1000000]
    python benchmarks/nuclei.py speed   [--side 4096]

`train` goes on where it was stopped; on one quiet core with bf16 instructions a step takes 0.7 s. `ship`
chooses the reading on pictures kept from training, writes the model folder of the package, and scores it
on val. `borders` counts nuclei found twice or not at all at tile borders by the true model; `million` does
so with a detector that paints known nuclei, and measures memory and export; `speed` gives seconds per mm² at
0.5 µm per pixel.

DATA/nuclei holds ``dsb2018_train_subset.zip`` and its index (CC0). Every figure is printed with the command.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from coverslip.evaluate.instances import THRESHOLDS, InstanceScores, Matches, instances, match, overlap
from coverslip.models.nuclei.detector import SHIPPED

NAME = "dsb2018_train_subset"


def pictures(data: Path, part: str):
    """Return the named pictures of a part of the data."""
    from coverslip.learn.nuclei.pictures import load_pictures

    return load_pictures(data / f"{NAME}.zip", data / f"{NAME}_index.csv", part)


def train(options: argparse.Namespace) -> None:
    """Train, or go on training, in a folder."""
    from coverslip.learn.nuclei.train import Schedule
    from coverslip.learn.nuclei.train import train as fit

    given = {name: getattr(options, name) for name in ("steps", "count", "seed") if getattr(options, name)}
    fit([one.picture for one in pictures(options.data, "train")], Schedule(**given), options.out)


def both(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return what thresholds are chosen by: AP at 0.5 and the mean AP, equally."""
    found = [overlap(truth, labels) for truth, labels in pairs]
    aps = [sum((match(of, t) for of in found), Matches(0, 0, 0, 0.0)).ap for t in THRESHOLDS]
    return float(aps[0] + np.mean(aps)) / 2


def ship(options: argparse.Namespace) -> None:
    """Choose the reading on the calibration part, judge on val, write the model folder."""
    from coverslip.learn.nuclei.calibrate import calibrate, look
    from coverslip.learn.nuclei.ship import detector_of, mean_weights
    from coverslip.learn.nuclei.ship import ship as write
    from coverslip.models.nuclei.reading import Reading

    weights, steps = mean_weights(options.out)
    weights = {k: v.half().float() if v.is_floating_point() else v for k, v in weights.items()}
    start = Reading()
    kept = [one.picture for one in pictures(options.data, "calibration")]
    reading, worth = calibrate(look(detector_of(weights, start, views=1), kept), start, both)
    print(json.dumps({"steps": steps, "merit": worth, "reading": asdict(reading)}))
    scores = scored(detector_of(weights, reading, views=1), options.data, "val")
    facts = {"trained_on": about(options.data, steps), "metrics": {"val": scores}}
    target = write(options.to or SHIPPED, weights, reading, facts)
    print(
        json.dumps({"weights": target.digest, "bytes": sum(f.stat().st_size for f in target.path.iterdir())})
    )


def about(data: Path, steps: int) -> dict[str, object]:
    """Return what the card says of the training."""
    from coverslip.models.network import file_digest

    schedule = "see coverslip.learn.nuclei.train.Schedule"
    return {
        "name": "281 of the pictures of the 2018 Data Science Bowl (BBBC038), corrected; train split",
        "licence": "CC0-1.0",
        "pictures": len(pictures(data, "train")),
        "calibration": len(pictures(data, "calibration")),
        "digest": file_digest(str(data / f"{NAME}.zip")),
        "seed": 0,
        "steps": steps,
        "schedule": schedule,
        "command": "python benchmarks/nuclei.py train --data DATA/nuclei -o WORK, then ship",
    }


def scored(detector, data: Path, part: str) -> dict[str, dict[str, float]]:
    """Score a detector on a part of the data, by kind of picture and in all; print each."""
    from coverslip.models.nuclei.picture import nuclei_of_picture

    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    begin = time.process_time()
    for one in pictures(data, part):
        found = nuclei_of_picture(detector, one.picture.pixels)
        for kind in ("all", one.picture.kind):
            pairs.setdefault(kind, []).append((one.picture.labels, found.labels))
    print(f"{part}: {time.process_time() - begin:.1f} s of CPU")
    scores = {kind: summary(instances(of_kind)) for kind, of_kind in sorted(pairs.items())}
    for kind, values in scores.items():
        print(f"{kind:13s}", "  ".join(f"{name} {value:.3f}" for name, value in values.items()))
    return scores


def summary(scores: InstanceScores) -> dict[str, float]:
    """Return the figures of the tables."""
    at = scores.matches[0.5]
    return {
        "ap50": round(at.ap, 4),
        "ap75": round(scores.matches[0.75].ap, 4),
        "mean_ap": round(scores.mean_ap, 4),
        "f1": round(at.f1, 4),
        "pq": round(at.pq, 4),
        "aji": round(scores.aji, 4),
        "dice": round(scores.dice, 4),
    }


def score(options: argparse.Namespace) -> None:
    """Score the shipped model, or another."""
    from coverslip.models.nuclei.detector import load_nuclei

    scored(load_nuclei(options.model, views=1), options.data, options.part)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = top.add_subparsers(required=True)
    for verb in (train, ship, score):
        one = verbs.add_parser(verb.__name__, help=verb.__doc__)
        one.set_defaults(verb=verb)
        one.add_argument("--data", type=Path, required=True)
        if verb is not score:
            one.add_argument("-o", "--out", type=Path, required=True)
    verbs.choices["train"].add_argument("--steps", type=int)
    verbs.choices["train"].add_argument("--count", type=int)
    verbs.choices["train"].add_argument("--seed", type=int)
    verbs.choices["ship"].add_argument("--to", type=Path)
    verbs.choices["score"].add_argument("--model")
    verbs.choices["score"].add_argument("--part", default="val", choices=["val", "calibration", "train"])
    return top


def main() -> None:
    """Run a verb on one thread."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options = parser().parse_args()
    options.verb(options)


if __name__ == "__main__":
    main()
