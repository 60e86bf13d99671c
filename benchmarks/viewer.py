"""How fast the viewer is, on this machine alone: tiles, the first picture, a million objects, memory.

    python benchmarks/viewer.py tiles SLIDE [--peer deepzoom=PYTHON] [--peer tiatoolbox=PYTHON] [--rounds 5]
    python benchmarks/viewer.py page SLIDE          # Chromium without a graphics card
    python benchmarks/viewer.py objects SLIDE [--n 1000000]
    python benchmarks/viewer.py memory SLIDE [--n 1000000] [--slides 20]

Clients share the machine with the server. Tiles are those of windows of 6 × 4 tiles here and there, half of
them at level 0 and half four times coarser, none asked twice of one server; who is asked first changes with
the round. ``--json`` prints the rows.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from viewer_browser import SCREEN, chromium, opened_at, pan, smoothness, zoom
from viewer_run import folder_of, linked, make_run
from viewer_servers import Line, Server, Tile, ask, levels_of, ours, peer, pss

from coverslip.slides import open_slide

CLIENTS = 8
SEQUENTIAL, TOGETHER, DECODED = 500, 4000, 1200


# ---------------------------------------------------------------------- tiles
def tiles_of(slide: str, count: int, seed: int) -> list[Tile]:
    """Return tiles as somebody looks at them: windows here and there, none twice."""
    with open_slide(slide) as opened:
        width, height = opened.size
    rng, seen, found = random.Random(seed), set(), []  # noqa: S311 - where somebody looks
    while len(found) < count:
        power = rng.choice((0, 2))
        columns, rows = (width >> power) // 256, (height >> power) // 256
        left, top = rng.randrange(max(1, columns - 6)), rng.randrange(max(1, rows - 4))
        for y in range(top, min(top + 4, rows)):
            for x in range(left, min(left + 6, columns)):
                if (power, x, y) not in seen:
                    seen.add((power, x, y))
                    found.append((power, x, y))
    return found[:count]


def measured(server: Server, tiles: Sequence[Tile], together: Sequence[Tile]) -> dict[str, float]:
    """Return latency one after the other, and tiles a second of `CLIENTS` at once."""
    line = Line(server)
    line.get(tiles[-1])
    times = [line.get(tile) for tile in tiles[:-1]]
    line.close()
    lines = [Line(server) for _ in range(CLIENTS)]
    parts = [together[i::CLIENTS] for i in range(CLIENTS)]
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda line, part: [line.get(tile) for tile in part], lines, parts))
    rate = len(together) / (time.perf_counter() - began)
    for one in lines:
        one.close()
    p50, p95 = np.percentile(times, (50, 95))
    return {"p50_ms": float(p50), "p95_ms": float(p95), "tiles_per_s": rate}


def tiles(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure latency and throughput beside the peers, in turn."""
    slide = asked.slide
    servers: dict[str, Callable[[], Any]] = {
        "coverslip": lambda: ours([slide]),
        "coverslip, decoding": lambda: ours([slide], query="?decode=1"),
    }
    for text in asked.peer:
        name, _, python = text.partition("=")
        servers[name] = lambda name=name, python=python: peer(name, python or sys.executable, slide)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    for number in range(asked.rounds):
        names = list(servers) if number % 2 == 0 else list(reversed(servers))
        for name in names:
            count = TOGETHER if name == "coverslip" else DECODED
            alone = SEQUENTIAL if name != "tiatoolbox" else SEQUENTIAL // 4
            each = tiles_of(slide, alone + count, seed=number)
            with servers[name]() as server:
                rows[name].append(measured(server, each[:alone], each[alone:]))
            print(number, name, rows[name][-1], file=sys.stderr, flush=True)
    found = []
    for name, runs in rows.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        ratios = [run["p50_ms"] / own["p50_ms"] for run, own in zip(runs, rows["coverslip"], strict=True)]
        found.append({"what": name, "runs": len(runs), **median, "times_ours_p50": statistics.median(ratios)})
    return found


# ---------------------------------------------------------------------- the page
def page(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the time from opening the address to a whole picture of the slide."""
    found = []
    with chromium() as browser:
        opened_at(browser, "data:text/html,<script>performance.mark('there')</script>", "there")
        for slide in asked.slide.split(","):
            with ours([slide]) as server:
                first = opened_at(browser, server.url, "coverslip:view")
                times = [opened_at(browser, server.url, "coverslip:view") for _ in range(asked.rounds)]
            said = {"first_of_the_server_ms": first, "median_ms": statistics.median(times)}
            found.append({"what": f"first full view, {Path(slide).name}", **said})
    return found


def objects(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a million objects in the page: opening, then frames a second at each magnification."""
    found: list[dict[str, Any]] = []
    with folder_of(asked.folder) as folder, chromium() as browser:
        run = make_run(folder, linked(folder, asked.slide, asked.slides), asked.n)
        shown = {"objects": {"nuclei": {"shown": True, "classes": None, "ranges": {}}}}
        with ours([str(run)]) as server:
            address = f"{server.url}#{quote(json.dumps(shown))}"
            first = opened_at(browser, address, "coverslip:objects")
            times = [opened_at(browser, address, "coverslip:objects") for _ in range(asked.rounds)]
            found.append({"what": "opening to overlay", "first_of_the_server_ms": first,
                          "median_ms": statistics.median(times)})  # fmt: skip
            page = browser.new_page(viewport=SCREEN)
            page.goto(address)
            page.wait_for_function("() => performance.getEntriesByName('coverslip:objects').length > 0")
            still = smoothness(page, lambda one: one.wait_for_timeout(1000))
            found.append({"what": "nothing moves", **still})
            for key, name in (("f", "whole slide"), *zip("123456", (1.25, 2.5, 5, 10, 20, 40), strict=True)):
                page.keyboard.press(key)
                page.wait_for_timeout(700)
                for what, act in (("pan", pan), ("zoom", zoom)):
                    found.append({"what": f"{what} at {name}", **smoothness(page, act)})
                    page.keyboard.press(key)
            page.close()
    return found


def memory(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the server's memory with many slides open, and a million objects looked at closely."""
    with folder_of(asked.folder) as folder:
        run = make_run(folder, linked(folder, asked.slide, asked.slides), asked.n)
        with ours([str(run)]) as server:
            levels = levels_of(asked.slide)
            each = tiles_of(asked.slide, 60, seed=0)
            for number in range(asked.slides):
                ask(server, each, lambda t, n=number: f"slide{n}/tiles/{levels[t[0]]}/{t[1]}/{t[2]}?decode=1")
            drawn = tiles_of(asked.slide, 400, seed=1)
            ask(server, drawn, lambda t: f"slide0/objects/nuclei/tiles/{2 ** t[0]}/{t[1] // 2}/{t[2] // 2}")
            what = f"server, {asked.slides} slides, {asked.n:,} objects"
            return [{"what": what, "memory_mb": pss(server.pid)}]


WHAT = {"tiles": tiles, "page": page, "objects": objects, "memory": memory}


def main() -> None:
    """Parse, run, print."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("slide", help="of page: several, separated by commas")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument("--folder", help="keep the run with the objects here, for the next time")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    for row in WHAT[asked.what](asked):
        if asked.json:
            print(json.dumps(row), flush=True)
        else:
            what = row.pop("what")
            cells = (f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
            print(f"{what:34}", "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
