"""Memory of a training step on a large bag, and how much of an epoch is reading: method bags.

    python benchmarks/mil.py memory [--aggregator abmil]     a bag of 200,000 × 1,536 float16 features
    python benchmarks/mil.py reading [--files 40]            1,000 bags of 10,000 × 1,024, as the loader reads

`memory` prints the largest resident size of a process that reads such a bag from a file and takes one step
(forward, backward, optimiser). `reading` prints the seconds an epoch spends in reading and in steps. Bags are
links to fewer distinct files where the disk is small; each file's pages are dropped from the cache before it
is read, so that the disk is measured, unless --warm is given.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS_AT_ONCE = 20_000


def write(path: Path, shape: tuple[int, int], seed: int) -> Path:
    """Write random float16 features as the embed stage does."""
    from coverslip.store import FeatureStream, Provenance, RunFolder

    rng = np.random.default_rng(seed)

    def rows():
        for start in range(0, shape[0], ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, shape[0] - start)
            index = np.arange(start, start + count)
            places = np.stack([index % 500, index // 500], axis=1).astype(np.int32) * 256
            yield rng.standard_normal((count, shape[1]), dtype=np.float32).astype(np.float16), places

    run = RunFolder.create(path)
    made = Provenance.make("example", 1, parameters={}, inputs={}, slide=None)
    stream = FeatureStream(
        "random", rows(), d=shape[1], n=shape[0], dtype="float16", tile_px=256, tile_side=256
    )
    run.put(f"s{seed}", "features/random", stream, provenance=made)
    return run.path_of(f"s{seed}", "features/random")


def network(name: str, dim: int, lr: float = 2e-4):
    """Build what the task would train, and its optimiser."""
    import torch

    from coverslip.learn.bags.heads import Heads
    from coverslip.learn.bags.model import BagNetwork
    from coverslip.learn.bags.module import LearningBags
    from coverslip.learn.bags.targets import BagTarget
    from coverslip.models.aggregators import checked_parameters

    heads = Heads.of([BagTarget(column="label", kind="binary")], [("a", "b")])
    module = LearningBags(BagNetwork(name, dim, heads, checked_parameters(name, {})))
    module.log = lambda *_, **__: None
    return module.train(), torch.optim.AdamW(module.parameters(), lr=lr)


def step(module, optimiser, batch) -> float:
    """Take one step and return its seconds."""
    began = time.perf_counter()
    loss = module.training_step(batch, 0)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return time.perf_counter() - began


def loader_of(files: list[Path], aggregator: str, sample: int | None):
    """Return the task's own dataset over these files."""
    from coverslip.learn.bags.bags import Bag
    from coverslip.learn.bags.feed import BagRows
    from coverslip.learn.bags.files import facts_of
    from coverslip.models.aggregators import aggregator_card

    bags = [Bag(f"b{k}", {f"s{k}": facts_of(file)}) for k, file in enumerate(files)]
    truth = np.arange(len(bags)) % 2.0
    return BagRows(bags, [truth], sample=sample, coords=aggregator_card(aggregator).uses_coords)


def one_step(file: Path, aggregator: str) -> None:
    """Read a bag, take a step, print what it took; run in a process of its own."""
    import torch

    torch.set_num_threads(2)
    rows = loader_of([file], aggregator, None)
    began = time.perf_counter()
    batch = rows[0, 0]
    read = time.perf_counter() - began
    module, optimiser = network(aggregator, batch.features.shape[-1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = step(module, optimiser, batch)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "aggregator": aggregator,
                "bag": list(batch.features.shape[1:]),
                "read_s": round(read, 2),
                "step_s": round(seconds, 2),
                "rss_before_gb": round(before / 2**20, 2),
                "max_rss_gb": round(after / 2**20, 2),
            }
        )
    )


def memory(folder: Path, aggregators: list[str]) -> None:
    """Measure each aggregator in a process of its own."""
    file = write(folder / "run", (200_000, 1536), 0)
    for name in aggregators:
        subprocess.run([sys.executable, __file__, "step", str(file), name], check=True)


def reading(folder: Path, count: int, aggregator: str, options: argparse.Namespace) -> None:
    """Measure reading and steps over distinct files, and scale to 1,000 bags."""
    import torch

    torch.set_num_threads(2)
    files = [write(folder / "run", (10_000, 1024), number) for number in range(count)]
    rows = loader_of(files, aggregator, options.sample)
    module, optimiser = network(aggregator, 1024)
    step(module, optimiser, rows[0, 0])  # what the first step sets up is no part of an epoch
    reads = steps = 0.0
    for number, file in enumerate(files):
        if not options.warm:
            drop(file)
        began = time.perf_counter()
        batch = rows[0, number]
        reads += time.perf_counter() - began
        steps += step(module, optimiser, batch)
    per = {"read_ms": 1000 * reads / count, "step_ms": 1000 * steps / count}
    epoch = {name.replace("ms", "s_of_1000_bags"): value for name, value in per.items()}
    print(
        json.dumps(
            {
                "aggregator": aggregator,
                "distinct_files": count,
                "tiles_per_step": options.sample or 10_000,
                "cache": "warm" if options.warm else "dropped",
                **{name: round(value, 2) for name, value in (per | epoch).items()},
                "reading_share_of_step": round(reads / steps, 3),
            }
        )
    )


def drop(file: Path) -> None:
    """Drop a file's pages from the cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["memory", "reading", "step"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--aggregator", action="append")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--folder", help="where the random features are written, and removed again")
    options = parser.parse_args()
    if options.what == "step":
        one_step(Path(options.rest[0]), options.rest[1])
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        names = options.aggregator or ["abmil"]
        if options.what == "memory":
            memory(Path(folder), names)
        for name in names if options.what == "reading" else []:
            reading(Path(folder) / name, options.files, name, options)


if __name__ == "__main__":
    main()
