"""Train, ship and judge the nuclei model.

    python benchmarks/nuclei.py train   --data DATA/nuclei -o WORK [--steps N]
    python benchmarks/nuclei.py ship    --data DATA/nuclei -o WORK [--to FOLDER]
    python benchmarks/nuclei.py score   --data DATA/nuclei [--model FOLDER] [--part val]
    python benchmarks/nuclei.py borders SLIDE [--side 4096] [--tile 512]
    python benchmarks/nuclei.py million [--count 1000000]
    python benchmarks/nuclei.py speed   SLIDE [--model KIND:PATH --options JSON]

`train` goes on where it was stopped; on one quiet core with bf16 instructions a step takes 0.5 s. `ship`
chooses the reading on pictures kept from training, writes the model folder of the package, and scores it
on val. `borders` counts nuclei found twice or not at all at tile borders by the true model; `million` does
so with a detector that paints known nuclei, and measures memory and export; `speed` gives seconds per mm² at
0.5 µm per pixel.

DATA/nuclei holds ``dsb2018_train_subset.zip`` and its index (CC0). Every figure is printed with the command.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from coverslip.evaluate.instances import THRESHOLDS, InstanceScores, Matches, instances, match, overlap
from coverslip.models.nuclei.detector import SHIPPED

NAME = "dsb2018_train_subset"
TILE = 1536


def pictures(data: Path, part: str):
    """Return the named pictures of a part of the data."""
    from coverslip.learn.nuclei.pictures import load_pictures

    return load_pictures(data / f"{NAME}.zip", data / f"{NAME}_index.csv", part)


def train(options: argparse.Namespace) -> None:
    """Train, or go on training, in a folder."""
    from coverslip.learn.nuclei.ship import mean_weights
    from coverslip.learn.nuclei.train import Schedule
    from coverslip.learn.nuclei.train import train as fit
    from coverslip.models.folder import ModelFolder

    names = ("steps", "count", "seed", "rate", "decay", "shares")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    weights = None
    if options.start is not None:
        earlier = (options.start / "checkpoint.pt").is_file()
        weights = mean_weights(options.start)[0] if earlier else ModelFolder.load(options.start).state()
    chosen = [one.picture for one in pictures(options.data, "train")]
    if options.also is not None:
        from nuclei_taught import taught

        chosen += taught(options.also)
    fit(chosen, Schedule(**given), options.out, weights=weights)


def both(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return what thresholds are chosen by: AP at 0.5 and the mean AP, equally."""
    found = [overlap(truth, labels) for truth, labels in pairs]
    aps = [sum((match(of, t) for of in found), Matches(0, 0, 0, 0.0)).ap for t in THRESHOLDS]
    return float(aps[0] + np.mean(aps)) / 2


def ship(options: argparse.Namespace) -> None:
    """Choose the reading on the calibration part, judge on val, write the model folder."""
    from coverslip.learn.nuclei.calibrate import settled
    from coverslip.learn.nuclei.ship import detector_of, halved, mean_weights
    from coverslip.learn.nuclei.ship import ship as write
    from coverslip.models.nuclei.reading import Reading

    weights, steps = mean_weights(options.out)
    weights = halved(weights)
    kept = [one.picture for one in pictures(options.data, "calibration")]
    reading, worth = settled(detector_of(weights, Reading(**options.begin)), kept, both)
    print(json.dumps({"steps": steps, "merit": worth, "reading": asdict(reading)}))
    scores = scored(detector_of(weights, reading), options.data, "val")
    facts = {"trained_on": about(options, steps), "metrics": {"val": scores}}
    target = write(options.to or SHIPPED, weights, reading, facts)
    print(
        json.dumps({"weights": target.digest, "bytes": sum(f.stat().st_size for f in target.path.iterdir())})
    )


def about(options: argparse.Namespace, steps: int) -> dict[str, object]:
    """Return what the card says of the training."""
    from coverslip.models.network import file_digest

    return {
        "name": "281 of the pictures of the 2018 Data Science Bowl (BBBC038), corrected; train split; "
        "besides what `command` names",
        "licence": "CC0-1.0",
        "pictures": len(pictures(options.data, "train")),
        "calibration": len(pictures(options.data, "calibration")),
        "digest": file_digest(str(options.data / f"{NAME}.zip")),
        "steps": steps,
        "schedule": json.loads((options.out / "schedule.json").read_text()),
        "command": options.command,
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


def painted(options: argparse.Namespace, count: int):
    """Return a slide of `count` painted nuclei at 0.5 µm per pixel, their truth, and what sees them."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "models"))
    from nuclei_painted import Sees, discs, painted_slide

    from coverslip.core import Size

    pitch = options.pitch
    across = round(count**0.5)
    size = Size(across * pitch, -(-count // across) * pitch)
    truth = discs(size, pitch, 0)
    return painted_slide(size, truth), truth, Sees()


def errors(xy: np.ndarray, truth: np.ndarray, tile: int) -> dict[str, object]:
    """Count true nuclei that were found twice or not at all, at tile borders (they cross one) and inside."""
    from scipy.spatial import cKDTree

    far, which = cKDTree(truth[:, :2]).query(xy)
    hits = np.bincount(which[far < truth[which, 2]], minlength=len(truth))
    from_edge = np.abs((truth[:, :2] + tile / 2) % tile - tile / 2).min(axis=1)
    border = from_edge <= truth[:, 2]
    said: dict[str, object] = {"nuclei": len(truth), "found": len(xy)}
    for name, rows in (("border", border), ("inside", ~border)):
        said[name] = int(rows.sum())
        said[f"{name}_missed"] = round(float((hits[rows] == 0).mean()), 6)
        said[f"{name}_twice"] = round(float((hits[rows] > 1).mean()), 6)
    return said


def million(options: argparse.Namespace) -> None:
    """Find and write painted nuclei as a run does, and export them; every number is of this process."""
    from coverslip.interop import write_geojson
    from coverslip.models.nuclei.slide import CLASSES, MEASUREMENTS, nuclei_of_slide, parts_of
    from coverslip.store import ObjectStream, Provenance, RunFolder
    from coverslip.tiles import GridSpec, lay

    slide, truth, sees = painted(options, options.count)
    tiles = lay(slide, GridSpec(mpp=0.5, size=TILE, edge="pad"))
    made = Provenance.make("benchmark", 1, parameters={}, inputs={}, slide=None)
    with tempfile.TemporaryDirectory() as folder:
        run, begin = RunFolder.create(folder), time.process_time()
        parts = nuclei_of_slide(sees, slide, tiles)
        stream = ObjectStream(
            parts, n=parts_of(tiles), classes=CLASSES, mpp=slide.mpp, measurements=MEASUREMENTS
        )
        run.put("slide", "objects/nuclei", stream, provenance=made)
        found_s, found_mb = time.process_time() - begin, peak_mb()
        objects = run.get("slide", "objects/nuclei")
        begin = time.process_time()
        write_geojson(objects, Path(folder) / "nuclei.geojson")
        said = errors(objects.xy, truth, TILE)
        said |= {"find_cpu_s": round(found_s, 1), "peak_mb": found_mb}
        said |= {"export_cpu_s": round(time.process_time() - begin, 1), "peak_mb_with_export": peak_mb()}
    print(json.dumps(said))


def borders(options: argparse.Namespace) -> None:
    """Compare the true model's nuclei of tiles with those of one look at the whole picture."""
    from coverslip.core import Box
    from coverslip.models.nuclei.detector import load_nuclei
    from coverslip.models.nuclei.slide import nuclei_of_slide, slide_levels
    from coverslip.slides import open_slide
    from coverslip.tiles import GridSpec, lay

    detector = load_nuclei(options.model, precision=options.precision)
    slide = open_slide(options.slide, mpp=options.mpp)
    scale = detector.mpp / slide.require_mpp()
    scale = 1.0 if abs(scale - 1) < 0.01 else scale
    side = int(min(min(slide.size) / scale, options.side))
    tiles = lay(slide, GridSpec(mpp=detector.mpp, size=options.tile))
    corner = tiles.xy + tiles.side_px <= side * tiles.downsample
    tiles = tiles.take(corner.all(axis=1))
    xy = np.concatenate([p.xy for p in nuclei_of_slide(detector, slide, tiles)]) / tiles.downsample
    width, height = (tiles.xy.max(axis=0) + tiles.side_px).tolist()
    pixels = slide.read_at(Box(0, 0, width, height), tiles.downsample).astype(np.float32) / 255
    whole = detector.find(pixels, slide_levels(slide, tiles))
    truth = np.column_stack([whole.centres, whole.diameters / 2])
    print(json.dumps(errors(xy, truth, options.tile)))


def speed(options: argparse.Namespace) -> None:
    """Give seconds per mm² at 0.5 µm per pixel, reading pixels, network and outlines included."""
    from coverslip.models.nuclei.detector import load_nuclei
    from coverslip.models.nuclei.peers import peer_of
    from coverslip.models.nuclei.slide import nuclei_of_slide
    from coverslip.slides import open_slide
    from coverslip.tiles import GridSpec, lay
    from coverslip.tissue import find_tissue

    slide = open_slide(options.slide, mpp=options.mpp)
    grid = GridSpec(mpp=0.5, size=options.side, edge="pad", min_tissue=0)
    tiles = lay(slide, grid, find_tissue(slide))
    tiles = tiles.take(np.argsort(-tiles.tissue, kind="stable")[: options.tiles or len(tiles)])
    peer = peer_of(options.model)
    for precision in ("f32",) if peer else ("bf16", "f32"):
        detector = (
            peer.open(json.loads(options.options))
            if peer
            else load_nuclei(options.model, precision=precision)
        )
        next(nuclei_of_slide(detector, slide, tiles.take([0])))  # kernels are loaded, memory is there
        runs = []
        for _ in range(options.repeat):
            begin, wall = time.process_time(), time.perf_counter()
            count = sum(map(len, nuclei_of_slide(detector, slide, tiles)))
            runs.append((time.process_time() - begin, time.perf_counter() - wall))
        mm2 = len(tiles) * (options.side * 0.5e-3) ** 2
        took, wall = np.median(runs, axis=0) / mm2
        said = {
            "model": options.model or "ours",
            "precision": precision,
            "nuclei": count,
            "mm2": round(mm2, 3),
        }
        print(json.dumps(said | {"cpu_s_per_mm2": round(took, 3), "s_per_mm2": round(wall, 3)}), flush=True)


def peak_mb() -> int:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = top.add_subparsers(required=True)
    for verb in (train, ship, score, million, borders, speed):
        one = verbs.add_parser(verb.__name__, help=verb.__doc__)
        one.set_defaults(verb=verb)
        if verb in (train, ship, score):
            one.add_argument("--data", type=Path, required=True)
        if verb in (train, ship):
            one.add_argument("-o", "--out", type=Path, required=True)
        if verb in (score, borders, speed):
            one.add_argument("--model")
        if verb in (borders, speed):
            one.add_argument("slide")
            one.add_argument("--mpp", type=float)
    for name in ("--steps", "--count", "--seed"):
        verbs.choices["train"].add_argument(name, type=int)
    for name in ("--rate", "--decay"):
        verbs.choices["train"].add_argument(name, type=float)
    verbs.choices["train"].add_argument("--also", type=Path, help="a folder of nuclei_taught.py")
    verbs.choices["train"].add_argument("--shares", type=json.loads, help="of kinds of pictures, as JSON")
    verbs.choices["train"].add_argument(
        "--from",
        dest="start",
        type=Path,
        help="a model folder, or an earlier WORK, to go on from",
    )
    verbs.choices["ship"].add_argument("--to", type=Path)
    verbs.choices["ship"].add_argument(
        "--begin", type=json.loads, default={}, help="the reading to begin with, as JSON"
    )
    verbs.choices["ship"].add_argument(
        "--command", default="python benchmarks/nuclei.py train --data DATA/nuclei -o WORK, then ship"
    )
    verbs.choices["speed"].add_argument("--options", default="{}", help="of a peer's model, as JSON")
    verbs.choices["speed"].add_argument("--side", type=int, default=TILE)
    verbs.choices["speed"].add_argument("--repeat", type=int, default=3, help="the median counts")
    verbs.choices["speed"].add_argument("--tiles", type=int, help="so many, those with most tissue")
    verbs.choices["score"].add_argument("--part", default="val", choices=["val", "calibration", "train"])
    verbs.choices["million"].add_argument("--count", type=int, default=1_000_000)
    verbs.choices["million"].add_argument("--pitch", type=int, default=31)
    verbs.choices["borders"].add_argument("--side", type=int, default=4096)
    verbs.choices["borders"].add_argument("--tile", type=int, default=512)
    verbs.choices["borders"].add_argument("--precision", default="bf16")
    return top


def main() -> None:
    """Run a verb on one thread."""
    import cv2

    cv2.setNumThreads(1)
    with contextlib.suppress(ImportError):  # StarDist needs none
        import torch

        torch.set_num_threads(1)
    options = parser().parse_args()
    options.verb(options)


if __name__ == "__main__":
    main()
