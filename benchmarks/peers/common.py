"""What every peer script shares: arguments, the clock, one line of JSON.

These scripts run in the peers' own environments, so they import nothing of Coverslip.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

TILE = 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def arguments() -> argparse.Namespace:
    """Parse what `benchmarks/peers.py` passes on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task")
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--coords", type=Path, help="npy of level-0 corners x, y")
    parser.add_argument("--out", type=Path, help="an empty folder")
    parser.add_argument(
        "--weights", type=Path, help="safetensors of a network of torchvision's names, no classifier"
    )
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--backend", default="torch:f32")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mpp", type=float, default=0.5, help="of the tiles")
    return parser.parse_args()


def run(tasks: dict[str, Callable[[argparse.Namespace], tuple[Callable[[], float], str]]]) -> None:
    """Prepare the task asked for, time it, print the result.

    A task prepares (imports, opening, models: untimed) and returns the work as a function that says how much
    it did, with the unit.
    """
    wanted = arguments()
    if wanted.task not in tasks:
        print(json.dumps({"skipped": f"has no task {wanted.task}"}))
        return
    work, unit = tasks[wanted.task](wanted)
    cpu, wall = time.process_time(), time.perf_counter()
    amount = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "amount": amount,
        "unit": unit,
        "seconds": wall,
        "cpu": cpu,
        "rate": amount / wall,
        "peak_mb": peak,
    }
    sys.stdout.flush()
    print(json.dumps(row), flush=True)


def network(wanted: argparse.Namespace):
    """Return the torchvision network with the weights given and no classifier, as peers run it: float32."""
    import torch
    import torchvision
    from safetensors.torch import load_file

    torch.set_num_threads(2)
    model = getattr(torchvision.models, wanted.architecture)(weights=None)
    model.fc = torch.nn.Identity()
    model.load_state_dict(load_file(wanted.weights))
    return model.eval()
