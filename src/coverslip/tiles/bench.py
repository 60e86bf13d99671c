"""How fast the engine is on this machine, each figure beside the floor that it cannot go under.

Ratios are of one run: floor and engine take turns, and the median of the rounds counts. On a busy machine the
ratio of processor seconds (`cpu`) is the steadier one.
"""

from __future__ import annotations

import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.slides import Slide, open_slide
from coverslip.tiles.bench_slide import make_slide
from coverslip.tiles.canvas import Canvas
from coverslip.tiles.floors import Floor, decode_floor, memory_floor, openslide_floor
from coverslip.tiles.grid import GridSpec, Tiles, lay, place
from coverslip.tiles.mapfile import MapSpec
from coverslip.tiles.plan import Plan
from coverslip.tiles.stream import stream

ROUNDS = 5
"""How often floor and engine take turns."""

BLOCKS = 8000
"""About how many blocks of the middle of the slide are read in a round: a second or two."""

THREADS = 2

SHIFT = (100, 60)
"""Pixels by which tiles are shifted off the file's own tiles."""

LEGEND = """\
value   what was measured, in `unit`; medians of five rounds, two threads
floor   the rate of the work called `against`, which took turns with it
ratio   value over floor, by the clock; of decoding alone 1 is the limit of the machine
cpu     the same in processor time, the steadier one when other programs run
goal    what ratio (or else value) has to reach on the slide of benchmarks/slide.py"""

CLASSES = ("background", "stroma", "tumour", "other")


@dataclass(frozen=True)
class Row:
    """One figure.

    `value` in `unit`; `floor` the figure of the work called `against`; `ratio` is value / floor (of rounds,
    the median), `cpu` the same of processor seconds, and `goal` what the ratio or the value must reach.
    """

    work: str
    value: float
    unit: str
    against: str = ""
    floor: float | None = None
    ratio: float | None = None
    cpu: float | None = None
    goal: str = ""


def run(slide: str | None = None, *, rounds: int = ROUNDS, stitch: bool = True) -> list[dict[str, Any]]:
    """Measure the engine, see `measured`.

    Returns
    -------
    Rows with the fields of `Row`.
    """
    return [asdict(row) for row in measured(slide, rounds=rounds, stitch=stitch)]


def measured(slide: str | None = None, *, rounds: int = ROUNDS, stitch: bool = True) -> Iterator[Row]:
    """Measure the engine and yield each figure as soon as it is known.

    Parameters
    ----------
    slide
        Path of a tiled brightfield slide; None for a small one that is made for the purpose.
    stitch
        Measure stitching too, which writes a map of the whole slide to the temporary folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = slide or make_slide(Path(folder) / "made.svs")
        with open_slide(path) as opened:
            yield from _reading(opened, rounds)
            yield from _memory_and_growth(opened)
        if stitch:
            yield _stitching(path, Path(folder) / "map.ome.zarr")


# ------------------------------------------------------------------- reading
def _reading(slide: Slide, rounds: int) -> Iterator[Row]:
    tissue = _tissue(slide)  # once before the clock runs, which imports what it needs
    seconds = [_timed(lambda: lay(slide, GridSpec(), _tissue(slide))) for _ in range(rounds)]
    wall, cpu = (statistics.median(part) for part in zip(*seconds, strict=True))
    yield Row("tissue and grid", wall, "s", f"{cpu:.2f} s of processor time", goal="≤ 0.5 s at 60k × 50k")
    for work, tiles, goal in _works(slide, tissue):
        floor = decode_floor(Plan.of(slide, tiles, np.arange(len(tiles))), THREADS)
        yield _against(work, len(tiles), (floor, partial(_drain, slide, tiles)), rounds, goal)
    tiles = _middle(slide, lay(slide, GridSpec(), tissue))
    plain, normalised = partial(_drain, slide, tiles), partial(_drain, slide, tiles, _macenko(slide, tiles))
    against = Floor("the same without", plain)
    yield _against("aligned, Macenko", len(tiles), (against, normalised), rounds, "≥ 0.85")
    yield from _windows(slide, tiles, rounds)
    yield Row("memory copied, 1 thread", memory_floor(), "GB/s")


def _works(slide: Slide, tissue: Any) -> list[tuple[str, Tiles, str]]:
    """Return what is read: its name, the tiles, the goal."""
    own = slide.require_mpp()
    aligned = lay(slide, GridSpec(), tissue)
    specs = [("50 % overlap", None, 128, "≥ 0.75"), ("resampled to 0.7", own / 0.7, None, "≥ 0.45")]
    specs += [("resampled to 0.5", own / 0.5, None, "≥ 0.45")]
    works = [("aligned", aligned, "≥ 0.92"), ("off the grid", _shifted(slide, aligned), "≥ 0.82")]
    for work, mpp, stride, goal in specs:
        works.append((work, lay(slide, GridSpec(mpp=mpp, stride=stride), tissue), goal))
    return [(work, _middle(slide, tiles), goal) for work, tiles, goal in works]


def _shifted(slide: Slide, tiles: Tiles) -> Tiles:
    return place(slide, tiles.xy + np.array(SHIFT), tiles.spec)


def _tissue(slide: Slide) -> Any:
    from coverslip.tissue import find_tissue

    return find_tissue(slide)


def _middle(slide: Slide, tiles: Tiles) -> Tiles:
    """Return the tiles of the rows around the middle that need about `BLOCKS` blocks."""
    plan = Plan.of(slide, tiles, np.arange(len(tiles)))
    needed = np.count_nonzero(plan.uses, axis=1)
    order = np.argsort(np.abs(np.arange(len(needed)) - len(needed) // 2), kind="stable")
    rows = np.sort(order[: 1 + int(np.searchsorted(needed[order].cumsum(), BLOCKS))])
    low, high = rows[0] * plan.block.height, (rows[-1] + 1) * plan.block.height
    y = tiles.xy[:, 1] / plan.level.downsample
    kept = tiles.take((y >= low) & (y + tiles.spec.size * plan.scale <= high))
    return kept if len(kept) else tiles


def _first(tiles: Tiles, count: int) -> Tiles:
    return tiles.take(np.arange(min(count, len(tiles))))


def _drain(slide: Slide, tiles: Tiles, normaliser: Any = None) -> None:
    for _ in stream(slide, tiles, threads=THREADS, normaliser=normaliser):
        pass


def _macenko(slide: Slide, tiles: Tiles) -> Any:
    from coverslip.stain import Normaliser, estimate_background, fit, load_target

    some = tiles.take(np.linspace(0, len(tiles) - 1, min(64, len(tiles))).astype(int))
    pixels = np.concatenate([batch.pixels for batch in stream(slide, some)])
    found = fit("macenko", pixels, estimate_background(slide.thumbnail(1024)))
    return Normaliser.to_target("macenko", found, load_target("cmu-1"))


def _against(work: str, count: int, pair: tuple[Floor, Callable[[], None]], rounds: int, goal: str) -> Row:
    """Let floor and engine take turns."""
    floor, engine = pair
    times = [(*_timed(floor.work), *_timed(engine)) for _ in range(rounds)]
    bare, _, ours, _ = (statistics.median(part) for part in zip(*times, strict=True))
    ratio = statistics.median(one[0] / one[2] for one in times)
    cpu = statistics.median(one[1] / one[3] for one in times)
    return Row(f"read: {work}", count / ours, "tiles/s", floor.name, count / bare, ratio, cpu, goal)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _windows(slide: Slide, tiles: Tiles, rounds: int) -> list[Row]:
    """Measure against a plain loop over OpenSlide: our own reader, and OpenSlide's, which locks."""
    from coverslip.core.errors import SlideError

    try:
        open_slide(slide.path, mpp=slide.mpp, reader="openslide").close()
    except SlideError:
        return []
    some = _first(tiles, 1000)
    floor = openslide_floor(slide.path, some)

    def fresh(reader: str) -> None:
        # opened anew, as in the loop: OpenSlide keeps decoded tiles
        with open_slide(slide.path, mpp=slide.mpp, reader=reader) as opened:
            _drain(opened, some)

    pairs = (slide.reader.name, "own reader"), ("openslide", "through OpenSlide")
    return [
        _against(work, len(some), (floor, partial(fresh, reader)), rounds, "≥ 1.5") for reader, work in pairs
    ]


# --------------------------------------------------------- memory and growth
def _memory_and_growth(slide: Slide) -> Iterator[Row]:
    """Measure peak memory of a whole slide's stream, and how processor time grows with tiles."""
    tissue = _tissue(slide)
    every, small = (lay(slide, GridSpec(size=size), tissue) for size in (256, 96))
    (wall, _), peak = _in_child(_stream_all, slide.path, every)
    yield Row("read: every tile of the slide", len(every) / wall, "tiles/s")
    yield Row("read: peak memory", peak, "MB", goal="≤ 500 MB")
    few, many = _around_middle(small, 1000), _around_middle(small, 100_000)
    growth = _over_floor(slide, many, 1) / _over_floor(slide, few, 20)
    counts = f"{len(many):,} against {len(few):,} tiles, processor time over that of decoding"
    yield Row("read: time per tile", growth, "times", counts, goal="0.9 … 1.1")


def _over_floor(slide: Slide, tiles: Tiles, rounds: int) -> float:
    """Return processor time of streaming over that of decoding (few tiles need more blocks each)."""
    floor = decode_floor(Plan.of(slide, tiles, np.arange(len(tiles))), THREADS).work
    engine = partial(_drain, slide, tiles)
    return statistics.median(_timed(engine)[1] / _timed(floor)[1] for _ in range(rounds))


def _around_middle(tiles: Tiles, count: int) -> Tiles:
    """Return tiles of the rows around the middle one, which hold as much tissue however many there are."""
    start = max(0, (len(tiles) - count) // 2)
    return tiles.take(np.arange(start, min(start + count, len(tiles))))


def _stream_all(path: str, tiles: Tiles) -> tuple[float, float]:
    with open_slide(path) as slide:
        return _timed(partial(_drain, slide, tiles))


def _in_child(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Do work in a process of its own; return its result and the peak of its memory in MB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_with_peak, work, *arguments).result()


def _with_peak(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    done = work(*arguments)
    return done, _peak()


def _peak() -> float:
    """Return the peak of this process's memory in MB.

    Linux hands the peak that `resource` knows down from parent to child; its status file starts anew.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found is not None:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ----------------------------------------------------------------- stitching
def _stitching(path: str, out: Path) -> Row:
    """Stitch float probabilities of four classes, tiles of 512 px that overlap by a quarter."""
    with open_slide(path) as slide:
        tiles = lay(slide, GridSpec(size=512, stride=384, edge="pad"), _tissue(slide))
    (mega, seconds), peak = _in_child(_stitch, path, tiles, out)
    return Row(
        "stitch: 4 classes of float32", mega / seconds, "Mpx/s", f"peak {peak:,.0f} MB", goal="≥ 42, ≤ 1 GB"
    )


def _stitch(path: str, tiles: Tiles, out: Path) -> tuple[float, float]:
    """Return megapixels of the slide, and the seconds that stitching alone took."""
    with open_slide(path) as slide:
        results, batch = _results(512), 8
        start = time.perf_counter()
        with Canvas(out, slide, tiles, MapSpec(CLASSES), threads=THREADS) as canvas:
            for first in range(0, len(canvas.todo), batch):
                rows = canvas.todo[first : first + batch]
                canvas.add(rows, results[: len(rows)])
        return slide.size.width * slide.size.height / 1e6, time.perf_counter() - start


def _results(size: int) -> NDArray[np.float32]:
    """Return smooth probabilities (8, 4, size, size) as a model gives them."""
    import cv2

    rng = np.random.default_rng(0)
    small = rng.standard_normal((8, len(CLASSES), size // 32 + 1, size // 32 + 1)).astype(np.float32)
    large = np.stack(
        [np.stack([cv2.resize(c, (size, size), interpolation=cv2.INTER_CUBIC) for c in t]) for t in small]
    )
    weights = np.exp(3 * large)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
