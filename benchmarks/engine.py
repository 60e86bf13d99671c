"""Print the engine's figures: ``python benchmarks/engine.py SLIDE [--json] [--rounds 5] [--no-stitch]``.

``benchmarks/slide.py`` builds the slide of the published table; ``coverslip bench engine`` does the same.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from coverslip.tiles.bench import ROUNDS, measured


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", nargs="?")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-stitch", action="store_true")
    chosen = parser.parse_args()
    found = measured(chosen.slide, rounds=chosen.rounds, stitch=not chosen.no_stitch)
    if chosen.json:
        print(json.dumps([asdict(row) for row in found], indent=1, ensure_ascii=False))
        return
    for row in found:
        ratio = "" if row.ratio is None else f"ratio {row.ratio:.2f}"
        cpu = "" if row.cpu is None else f"cpu {row.cpu:.2f}"
        figures = f"{row.value:10,.2f} {row.unit:8}{ratio:12}{cpu:10}"
        print(f"{row.work:32}{figures}{row.goal:22}{row.against}", flush=True)


if __name__ == "__main__":
    main()
