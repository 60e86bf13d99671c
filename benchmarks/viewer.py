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
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import shapely

from coverslip.slides import open_slide
from coverslip.store import ObjectStream, ObjectTable, Provenance, RunFolder

HERE = Path(__file__).parent
CLIENTS = 8
SEQUENTIAL, TOGETHER, DECODED = 500, 4000, 1200
STRIPS = 50
CLASSES, MEASURED = ("tumour", "stroma", "lymphocyte"), ("area_um2", "roundness")
SCREEN = {"width": 1440, "height": 900}
MADE = Provenance.make("benchmark", 1, parameters={}, inputs={}, slide=None)

Tile = tuple[int, int, int]
"""Power of two by which it is coarser than level 0, column, row."""


# ---------------------------------------------------------------------- servers
@dataclass(frozen=True)
class Server:
    """A server that runs, and how its tiles are asked for."""

    port: int
    path: Callable[[Tile], str]
    headers: str = ""
    pid: int = 0
    url: str = ""


@contextmanager
def ours(places: Sequence[str], *, query: str = "") -> Iterator[Server]:
    """Run ``coverslip view``."""
    command = [sys.executable, "-m", "coverslip", "view", *places, "--no-browser", "--json"]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--db", f"{folder}/people.sqlite"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = json.loads(process.stdout.readline())["url"]  # type: ignore[union-attr]
                parts = urlsplit(url)
                token = parse_qs(parts.query)["token"][0]
                slide = quote(Path(places[0]).stem)
                levels = _levels(places[0]) if Path(places[0]).is_file() else {}

                def path(tile: Tile) -> str:
                    return f"/api/slides/{slide}/tiles/{levels[tile[0]]}/{tile[1]}/{tile[2]}{query}"

                yield Server(parts.port or 0, path, f"Authorization: Bearer {token}\r\n", process.pid, url)
            finally:
                process.terminate()


def _levels(path: str) -> dict[int, int]:
    """Return which level that is served is how many powers of two coarser than level 0."""
    from coverslip.server.pyramid import served_levels

    with open_slide(path) as slide:
        return {round(np.log2(level.downsample)): level.index for level in served_levels(slide)}


@contextmanager
def peer(name: str, python: str, slide: str) -> Iterator[Server]:
    """Run a peer's server."""
    command = [python, "-P", str(HERE / "peers" / "serve.py"), name, slide]  # peers/ has files of their names
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            port = int(process.stdout.readline())  # type: ignore[union-attr]
            _wait(port)
            with open_slide(slide) as opened:
                last = int(np.ceil(np.log2(max(opened.size) / 256)))

            def zoomify(tile: Tile) -> str:
                place = f"{last - tile[0]}-{tile[1]}-{tile[2]}"
                return f"/tileserver/layer/slide/default/zoomify/TileGroup0/{place}@1x.jpg"

            own = name == "tiatoolbox"
            path = zoomify if own else "/{0[0]}/{0[1]}/{0[2]}".format
            yield Server(port, path, "Cookie: session_id=default\r\n" if own else "", process.pid)
        finally:
            process.terminate()


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"nothing answers at port {port}")


# ---------------------------------------------------------------------- a client that costs little
class Line:
    """A kept-alive connection that reads answers and throws them away."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def get(self, tile: Tile) -> float:
        """Ask for a tile and return the milliseconds until all of it was here."""
        path = self._server.path(tile)
        ask = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._server.port}\r\n{self._server.headers}\r\n"
        began = time.perf_counter()
        self._socket.sendall(ask.encode())
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._read(path)
        head = data[:end].lower()
        if not head.startswith((b"http/1.1 200", b"http/1.0 200")):
            sys.exit(f"{path}: {head[:120]!r}")
        size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        missing = size - (len(data) - end - 4)
        while missing > 0:
            missing -= len(self._read(path))
        return (time.perf_counter() - began) * 1e3

    def _read(self, path: str) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            sys.exit(f"{path}: the server hung up")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


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
    found = []
    for name, runs in rows.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        ratios = [run["p50_ms"] / own["p50_ms"] for run, own in zip(runs, rows["coverslip"], strict=True)]
        found.append({"what": name, "runs": len(runs), **median, "times_ours_p50": statistics.median(ratios)})
    return found


# ---------------------------------------------------------------------- the page
@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium without window and graphics card."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        made = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        yield made
        made.close()


MARKS = """() => Object.fromEntries(performance.getEntriesByType('mark').map((m) => [m.name, m.startTime]))"""


def opened_at(browser: Any, url: str, mark: str) -> float:
    """Open an address in a browser that knows nothing of it, and return milliseconds until a mark."""
    context = browser.new_context(viewport=SCREEN)
    page = context.new_page()
    page.goto(url)
    page.wait_for_function(f"() => performance.getEntriesByName('{mark}').length > 0", polling=20)
    found = float(page.evaluate(MARKS)[mark])
    context.close()
    return found


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


# ---------------------------------------------------------------------- a million objects
@contextmanager
def folder_of(asked: argparse.Namespace) -> Iterator[Path]:
    """Give the folder that was named, or one that goes away."""
    if asked.folder:
        yield Path(asked.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def linked(folder: Path, slide: str, count: int) -> list[str]:
    """Give a slide many names."""
    names = [folder / f"slide{number}{Path(slide).suffix}" for number in range(count)]
    for name in names:
        if not name.exists():
            name.symlink_to(Path(slide).absolute())
    return [str(name) for name in names]


def make_run(folder: Path, slides: Sequence[str], n: int) -> Path:
    """Write a run whose first slide has `n` nuclei of 16 vertices and two measurements."""
    if (folder / "run" / "run.json").exists():
        return folder / "run"
    run = RunFolder.create(folder / "run")
    listed = [{"id": Path(one).stem, "path": str(Path(one).absolute()), "mpp": 0.5} for one in slides]
    run.set_info({"recipe": "benchmark", "slides": listed}, MADE)
    for one in listed:
        (run.path / "slides" / one["id"]).mkdir(parents=True, exist_ok=True)
    with open_slide(slides[0]) as slide:
        size = slide.size
    stream = ObjectStream(_strips(n, size), n=STRIPS, classes=CLASSES, measurements=MEASURED, mpp=0.5)
    run.put(listed[0]["id"], "objects/nuclei", stream, provenance=MADE)
    return run.path


def _strips(n: int, size: tuple[int, int]) -> Iterator[ObjectTable]:
    """Yield nuclei strip by strip, as a stage does."""
    angle = np.arange(16) / 16 * 2 * np.pi
    for number in range(STRIPS):
        rng = np.random.default_rng(number)
        count = n // STRIPS
        high = size[1] / STRIPS
        centre = rng.uniform((20, number * high), (size[0] - 20, (number + 1) * high), (count, 2))
        radius = rng.uniform(5, 10, (count, 1)) * (1 + 0.08 * rng.normal(size=(count, 16)))
        outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        yield ObjectTable(
            shapely.polygons(outline + centre[:, None]), classes=CLASSES,
            labels=rng.integers(0, 3, count).astype(np.int32), scores=rng.uniform(0.5, 1, count),
            measurements={"area_um2": (radius.mean(axis=1) ** 2 * np.pi * 0.25).astype(np.float32),
                          "roundness": rng.uniform(0.6, 1, count).astype(np.float32)}, mpp=0.5,
        )  # fmt: skip


FRAMES = """() => {
    const times = [];
    window.frames_on = true;
    const tick = (now) => { times.push(now); if (window.frames_on) requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
    window.frames_done = () => { window.frames_on = false; return times; };
}"""


def smoothness(page: Any, act: Callable[[Any], None]) -> dict[str, float]:
    """Return frames a second while something is done, and the slowest twentieth of frames."""
    page.evaluate(FRAMES)
    act(page)
    times = np.diff(page.evaluate("() => window.frames_done()"))
    return {"frames_per_s": float(1000 / times.mean()), "p95_ms": float(np.percentile(times, 95))}


def pan(page: Any) -> None:
    """Drag the slide to and fro for two seconds, sixty movements a second."""
    page.mouse.move(720, 450)
    page.mouse.down()
    began = time.perf_counter()
    step = 0
    while (now := time.perf_counter() - began) < 2:
        page.mouse.move(720 + 260 * np.sin(now * 2.4), 450 + 160 * np.sin(now * 3.1))
        step += 1
        time.sleep(max(0, step / 60 - (time.perf_counter() - began)))
    page.mouse.up()


def zoom(page: Any) -> None:
    """Turn the wheel to and fro for two seconds."""
    page.mouse.move(720, 450)
    began = time.perf_counter()
    turns = 0
    while time.perf_counter() - began < 2:
        page.mouse.wheel(0, -120 if turns % 8 < 4 else 120)
        turns += 1
        time.sleep(0.1)


def objects(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a million objects in the page: opening, then frames a second at each magnification."""
    found: list[dict[str, Any]] = []
    with folder_of(asked) as folder, chromium() as browser:
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
    with folder_of(asked) as folder:
        run = make_run(folder, linked(folder, asked.slide, asked.slides), asked.n)
        with ours([str(run)]) as server:
            levels = _levels(asked.slide)
            each = tiles_of(asked.slide, 60, seed=0)
            for number in range(asked.slides):
                ask(server, each, lambda t, n=number: f"slide{n}/tiles/{levels[t[0]]}/{t[1]}/{t[2]}?decode=1")
            drawn = tiles_of(asked.slide, 400, seed=1)
            ask(server, drawn, lambda t: f"slide0/objects/nuclei/tiles/{2 ** t[0]}/{t[1] // 2}/{t[2] // 2}")
            what = f"server, {asked.slides} slides, {asked.n:,} objects"
            return [{"what": what, "memory_mb": pss(server.pid)}]


def ask(server: Server, each: Sequence[Tile], place: Callable[[Tile], str]) -> None:
    """Ask for pictures one after the other."""
    line = Line(Server(server.port, lambda tile: f"/api/slides/{place(tile)}", server.headers))
    for tile in each:
        line.get(tile)
    line.close()


def pss(pid: int) -> float:
    """Return what a process holds of memory in MB, its share of what is shared."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("Pss:")[1].split()[0]) / 1024


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
