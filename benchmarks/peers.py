"""Coverslip and a peer at the same task on the same slide, in turn, as processes; medians and the ratio.

    python benchmarks/peers.py read --peer tiatoolbox=ENV/bin/python --slide BIG.svs --coords GRID.npy

Each round runs ours and every peer once, so that a machine whose speed drifts drifts for all. What is timed
is stated in the scripts of ``benchmarks/peers/``; imports and opening are not. ``--mpp`` resamples (0.5 by
default). ``--json`` prints the rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).parent / "peers"


def once(python: str, script: str, task: str, passed: list[str]) -> dict:
    """Run one script once and return its row."""
    passed = [str(Path(word).resolve()) if Path(word).exists() else word for word in passed]
    with tempfile.TemporaryDirectory() as out:  # some write logs to where they stand
        command = [python, str(SCRIPTS / f"{script}.py"), task, *passed, "--out", str(Path(out) / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"skipped": f"failed with {done.returncode}: {done.stderr.strip()[-300:]}"}
    return json.loads(lines[-1])


def summary(name: str, rows: list[dict]) -> dict:
    """Return the medians of one contender."""
    skipped = [row["skipped"] for row in rows if "skipped" in row]
    if skipped:
        return {"name": name, "skipped": skipped[0]}
    median = {
        key: statistics.median(row[key] for row in rows) for key in ("amount", "seconds", "rate", "peak_mb")
    }
    return {"name": name, "unit": rows[0]["unit"], "runs": len(rows), **median}


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("tissue", "read", "embed", "stain", "stitch"))
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PYTHON", help="a script and its Python"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    wanted, passed = parser.parse_known_args()
    contenders = {"ours": sys.executable} | dict(peer.split("=", 1) for peer in wanted.peer)
    contenders = {name: str(Path(python).absolute()) for name, python in contenders.items()}
    rows: dict[str, list[dict]] = {name: [] for name in contenders}
    for _ in range(wanted.rounds):
        for name, python in contenders.items():
            rows[name].append(once(python, name, wanted.task, passed))
    table = [summary(name, found) for name, found in rows.items()]
    if wanted.json:
        print(json.dumps(table, indent=1))
        return
    ours = table[0].get("rate")
    for row in table:
        if "skipped" in row:
            print(f"{row['name']:<16} {row['skipped']}")
            continue
        ratio = f"ours is {ours / row['rate']:.1f} x" if ours and row["name"] != "ours" else ""
        print(f"{row['name']:<16} {row['rate']:>10,.1f} {row['unit']}/s  {row['seconds']:>8.2f} s  "
              f"{row['peak_mb']:>8,.0f} MB  {row['amount']:>9,.0f} {row['unit']}  {ratio}")  # fmt: skip


if __name__ == "__main__":
    main()
