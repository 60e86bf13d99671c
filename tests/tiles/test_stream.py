"""The stream gives what Slide.read_at gives, whatever the tiles, the threads and the trouble."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coverslip.core import Size
from coverslip.core.errors import CorruptTileError, SlideError, StainError, UsageError
from coverslip.slides import open_slide
from coverslip.slides.resample import span
from coverslip.tiles import GridSpec, assemble, lay, place, scatter, stream
from coverslip.tiles.assemble import Assembler, Target, cut, cut_past
from coverslip.tiles.blocks import Blocks
from coverslip.tiles.plan import Plan, spans

FIXTURE = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def everything(slide, tiles, **options):
    """All batches of a stream, joined in the order of the tiles."""
    batches = list(stream(slide, tiles, **options))
    index = np.concatenate([batch.index for batch in batches])
    back = np.argsort(index)
    assert np.array_equal(index[back], np.arange(len(tiles)))
    pixels = np.concatenate([batch.pixels for batch in batches])[back]
    return pixels, np.concatenate([batch.missing for batch in batches])[back], batches


def expected(slide, tiles):
    return np.stack([slide.read_at(tiles.box(i), tiles.downsample) for i in range(len(tiles))])


@FIXTURE
@given(
    mpp=st.sampled_from([None, 0.5, 0.503, 0.61, 0.7142857, 1.0, 1.7, 2.0, 2.01, 2.9, 5.0]),
    size=st.integers(1, 150),
    stride=st.one_of(st.none(), st.integers(20, 170)),
    edge=st.sampled_from(["drop", "pad"]),
    shift=st.tuples(st.integers(-90, 90), st.integers(-90, 90)),
    options=st.fixed_dictionaries(
        {"batch_size": st.integers(1, 9), "threads": st.integers(1, 3), "depth": st.integers(1, 3)}
    ),
    shuffle=st.one_of(st.none(), st.integers(0, 9)),
    many=st.sampled_from([1, 512]),
    keep=st.sampled_from([0, 1 << 28]),
)
def test_equals_read_at(slide, mpp, size, stride, edge, shift, options, shuffle, many, keep):
    spec = GridSpec(mpp=mpp, size=size, stride=stride if stride or size > 20 else 40, edge=edge)
    try:
        laid = lay(slide, spec)
    except ValueError:
        return
    rng = np.random.default_rng(0)
    tiles = laid.take(np.sort(rng.permutation(len(laid))[:25]))
    tiles = place(slide, tiles.xy + np.array(shift), spec) if shift[0] % 2 else tiles
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(assemble, "MANY", many)
        patched.setattr(scatter, "MANY", many)
        patched.setattr(sys.modules["coverslip.tiles.stream"], "KEEP_BYTES", keep)
        pixels, missing, _ = everything(slide, tiles, **options, shuffle=shuffle)
    assert not missing.any()
    assert np.array_equal(pixels, expected(slide, tiles))


@settings(deadline=None)
@given(
    block=st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(0, 3), st.integers(0, 3)),
    tiles=st.tuples(st.integers(1, 5), st.integers(1, 90), st.integers(1, 120)),
    at=st.tuples(st.integers(-150, 300), st.integers(-150, 150)),
    step=st.integers(1, 120),
    start=st.integers(0, 70),
)
def test_copies_past_the_cache_are_copies(block, tiles, at, step, start):
    height, width, more, twice = block
    whole = np.random.default_rng(height).integers(0, 256, (height, width * (1 + twice) + more, 3), np.uint8)
    given = whole[:, : width * (1 + twice) : 1 + twice]
    shape = (*tiles, 3)
    results = []
    for copy in (cut, cut_past):
        memory = np.zeros(start + np.prod(shape) + 70, np.uint8)
        copy(given, memory[start : start + np.prod(shape)].reshape(shape), at, step)
        results.append(memory)
    assert np.array_equal(*results)


@given(
    start=st.floats(-1e5, 1e5),
    pixels=st.integers(1, 3000),
    scale=st.one_of(st.just(1.0), st.floats(1, 40), st.sampled_from([2.0, 4.0, 16.0, 1 / 0.7])),
)
def test_spans_equal_span(start, pixels, scale):
    one = span(start, pixels, scale)
    many = spans(np.array([start]), pixels, scale)
    assert (one.first, one.count, one.phase) == tuple(part[0] for part in many)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(stride=32, shift=0, threads=1, runs=False)
@given(stride=st.integers(30, 64), shift=st.integers(0, 63), threads=st.integers(1, 4), runs=st.booleans())
def test_each_block_is_decoded_once(slide, stride, shift, threads, runs):
    tiles = place(
        slide, lay(slide, GridSpec(size=64, stride=stride)).xy + shift, GridSpec(size=64, stride=stride)
    )
    tiles = tiles if runs else tiles.take(np.random.default_rng(0).permutation(len(tiles)))
    counted = Counting(slide.reader)
    with substituted(slide, counted):
        pixels, _, _ = everything(slide, tiles, threads=threads)
    assert np.array_equal(pixels, expected(slide, tiles))
    assert max(counted.calls.values()) == 1


def test_memory_is_bounded_by_decoding_again(slide):
    tiles = lay(slide, GridSpec(size=100, stride=50))
    counted = Counting(slide.reader)
    with substituted(slide, counted):
        plan = Plan.of(slide, tiles, np.arange(len(tiles)), len(tiles))
        blocks = Blocks(plan, keep=4 * 64 * 64 * 3, near=2)
        held = []
        target = Target(0, np.empty((len(tiles), 100, 100, 3), np.uint8), np.zeros(len(tiles), np.bool_))
        for window in plan.windows(0, len(tiles)):
            Assembler(plan, blocks, None).fill(target, [window])
            held.append(len(blocks._blocks))
    assert np.array_equal(target.pixels, expected(slide, tiles))
    assert max(held) <= 4 + 2
    assert max(counted.calls.values()) > 1


class Counting:
    """A reader that counts, and spoils blocks on request."""

    def __init__(self, reader, *, corrupt=(), fails=None, windows=False):
        self.reader, self.corrupt, self.fails, self.windows = reader, set(corrupt), fails, windows
        self.calls, self.lock = {}, threading.Lock()

    def __getattr__(self, name):
        return getattr(self.reader, name)

    def block(self, level, column, row, out=None):
        with self.lock:
            self.calls[column, row] = self.calls.get((column, row), 0) + 1
        if (column, row) in self.corrupt:
            raise CorruptTileError(f"bad bytes in {column}, {row}")
        if self.fails is not None:
            raise self.fails
        return self.reader.block(level, column, row, out)

    def window(self, level, x, y, size):
        wide, tall = self.reader.block_size(level)
        for column, row in self.corrupt:
            across = x < (column + 1) * wide and x + size.width > column * wide
            if across and y < (row + 1) * tall and y + size.height > row * tall:
                raise CorruptTileError(f"bad bytes in {column}, {row}")
        return self.reader.window(level, x, y, size)


@contextlib.contextmanager
def substituted(slide, reader):
    """Let a slide read through another reader for a while."""
    own = slide._reader
    slide._reader = reader
    try:
        yield
    finally:
        slide._reader = own


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    corrupt=st.sets(st.tuples(st.integers(0, 15), st.integers(0, 10)), min_size=1, max_size=5),
    size=st.sampled_from([64, 100]),
    stride=st.sampled_from([32, 50, 64, 100]),
    mpp=st.sampled_from([0.5, 0.8]),
    threads=st.integers(1, 3),
    windows=st.booleans(),
)
def test_exactly_the_tiles_that_touch_a_corrupt_block_are_missing(
    slide, corrupt, size, stride, mpp, threads, windows
):
    tiles = lay(slide, GridSpec(mpp=mpp, size=size, stride=stride, edge="pad"))
    truth = expected(slide, tiles)
    with substituted(slide, Counting(slide.reader, corrupt=corrupt, windows=windows)):
        pixels, missing, batches = everything(slide, tiles, threads=threads, batch_size=16)
    low, high = tiles.xy, tiles.xy + np.ceil(tiles.side_px - 1e-6)
    touched = np.zeros(len(tiles), np.bool_)
    for block in corrupt:
        start = np.array(block) * 64
        touched |= ((low < start + 64) & (high > start)).all(axis=1)
    assert np.array_equal(missing, touched)
    assert (pixels[missing] == 255).all()
    assert np.array_equal(pixels[~missing], truth[~missing])
    for batch in batches:
        assert bool(batch.errors) == bool(batch.missing.any())
        assert all(slide.path in error and "bad bytes in" in error for error in batch.errors)


def blocks_touched(slide, tiles):
    """For each tile the blocks (column, row) of level 0 under it, by plain loops."""
    wide, tall = slide.reader.block_size(0)
    level = slide.levels[0]
    return [
        {
            (column, row)
            for column in range(max(x, 0) // wide, (min(x + tiles.spec.size, level.width) - 1) // wide + 1)
            for row in range(max(y, 0) // tall, (min(y + tiles.spec.size, level.height) - 1) // tall + 1)
        }
        for x, y in tiles.xy.tolist()
    ]


@FIXTURE
@given(
    size=st.integers(1, 150),
    count=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    depth=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_deal_names_every_block_once_and_what_must_be_in_memory(
    slide, size, count, batch_size, depth, seed
):
    rng = np.random.default_rng(seed)
    xy = rng.integers((-200, -200), (1100, 800), (count, 2))
    tiles = place(slide, xy[np.argsort(xy[:, 1])] if seed % 2 else xy, GridSpec(size=size))
    plan = Plan.of(slide, tiles, np.arange(count), batch_size)
    deal, touched = scatter.Deal.of(plan), blocks_touched(slide, tiles)
    blocks = list(zip(deal.pairs.column.tolist(), deal.pairs.row.tolist(), strict=True))
    assert len(set(blocks)) == len(blocks)
    places = [
        deal.pairs.place[a:b].tolist() for a, b in zip(deal.pairs.start, deal.pairs.start[1:], strict=False)
    ]
    assert dict(zip(blocks, places, strict=True)) == {
        block: [place for place, under in enumerate(touched) if block in under]
        for block in set().union(*touched)
    }
    needed = [part[0] // batch_size for part in places]
    assert needed == sorted(needed)
    batches = -(-count // batch_size)
    assert [needed.count(batch) for batch in range(batches)] == np.diff(deal.first).tolist()
    reach = [
        max([b] + [part[-1] // batch_size for part in places if part[0] // batch_size <= b])
        for b in range(batches)
    ]
    assert deal.last.tolist() == reach
    busy = [batch for batch in range(batches) if batch in needed]
    most = 0
    for oldest in range(batches):
        newest = [*[batch for batch in busy if batch >= oldest], *[batches - 1] * depth][depth - 1]
        most = max(most, reach[newest] - oldest + 1)
    assert deal.most_at_once(depth) == most


@pytest.mark.parametrize("many", [1, 512])
@pytest.mark.parametrize("keep", [0, 1 << 28])
def test_blocks_may_be_memory_not_to_be_written_to(slide, many, keep, monkeypatch):
    class Frozen(Counting):
        def block(self, level, column, row, out=None):  # noqa: ARG002 - a reader may leave it unused
            pixels = np.array(self.reader.block(level, column, row))
            pixels.flags.writeable = False
            return pixels

    monkeypatch.setattr(assemble, "MANY", many)
    monkeypatch.setattr(scatter, "MANY", many)
    monkeypatch.setattr(sys.modules["coverslip.tiles.stream"], "KEEP_BYTES", keep)
    for spec in (GridSpec(size=64, edge="pad"), GridSpec(size=64, stride=40)):
        tiles = lay(slide, spec)
        with substituted(slide, Frozen(slide.reader)):
            pixels, _, _ = everything(slide, tiles)
        assert np.array_equal(pixels, expected(slide, tiles))


def test_a_slow_reader_does_not_hold_more_batches_than_said(slide):
    tiles = lay(slide, GridSpec(size=64, stride=32))
    plan = Plan.of(slide, tiles, np.arange(len(tiles)), 8)
    most = scatter.Deal.of(plan).most_at_once(2)
    dealt, begin = [0, 0], scatter.Dealer.begin

    def counted(self, target):
        dealt[0] += 1
        begin(self, target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scatter.Dealer, "begin", counted)
        for done, _ in enumerate(stream(slide, tiles, batch_size=8, depth=2)):
            dealt[1] = max(dealt[1], dealt[0] - done)
    assert 2 < dealt[1] <= most + 1


def test_windows_are_read_where_blocks_cost_more(slide):
    far = place(slide, [(x, y) for y in range(20, 600, 190) for x in range(20, 900, 190)], GridSpec(size=16))
    near = lay(slide, GridSpec(size=64, stride=32))
    for tiles, direct in ((far, True), (near, False)):
        counted = Counting(slide.reader, windows=True)
        with substituted(slide, counted):
            pixels, _, _ = everything(slide, tiles)
        assert np.array_equal(pixels, expected(slide, tiles))
        assert bool(counted.calls) != direct


def no_threads():
    """Say whether no thread of a stream is alive."""
    return not [thread for thread in threading.enumerate() if thread.name.startswith("coverslip-tiles")]


def test_a_failing_read_reaches_the_caller_with_slide_and_region(slide):
    tiles = lay(slide, GridSpec(size=64))
    with (
        substituted(slide, Counting(slide.reader, fails=OSError("the network is gone"))),
        pytest.raises(SlideError, match=r"pyramid\.tif: tiles 0 to .* cannot be read: the network is gone"),
    ):
        list(stream(slide, tiles))
    bug = Counting(slide.reader, fails=ZeroDivisionError("a bug"))
    with substituted(slide, bug), pytest.raises(ZeroDivisionError) as caught:
        list(stream(slide, tiles))
    assert any("pyramid.tif: tiles 0 to" in note for note in caught.value.__notes__)
    assert no_threads()


def test_closing_early_leaves_no_thread(slide):
    tiles = lay(slide, GridSpec(size=64, stride=20))
    batches = stream(slide, tiles, batch_size=4, threads=3)
    next(batches)
    assert not no_threads()
    batches.close()
    assert no_threads()
    for _ in stream(slide, tiles, batch_size=4):
        break
    gc.collect()
    assert no_threads()
    with pytest.raises(KeyboardInterrupt):
        interrupted(slide, tiles)
    gc.collect()
    assert no_threads()


def interrupted(slide, tiles):
    for _ in stream(slide, tiles, batch_size=4):
        raise KeyboardInterrupt


def test_batches_may_be_kept_and_changed(slide):
    tiles = lay(slide, GridSpec(size=64, stride=40))
    truth, kept = expected(slide, tiles), []
    for number, batch in enumerate(stream(slide, tiles, batch_size=8)):
        if number % 2:
            kept.append((batch.index, batch.pixels[1:3]))
        else:
            batch.pixels[...] = 7
    for index, pixels in kept:
        assert np.array_equal(pixels, truth[index[1:3]])


class Inverter:
    """A normaliser, in place or not."""

    def __init__(self, in_place):
        self.in_place, self.threads = in_place, set()

    def apply(self, rgb, out=None):
        if rgb.size > 3:  # not the one pixel that stands for what lies beyond the edge
            self.threads.add(threading.current_thread().name)
        return np.subtract(255, rgb, out=out if self.in_place else None)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("many", [1, 512])
@pytest.mark.parametrize(
    ("spec", "early"),
    [
        (GridSpec(size=64, stride=40, edge="pad"), True),
        (GridSpec(size=64, edge="pad"), True),
        (GridSpec(size=20, stride=200), False),
        (GridSpec(mpp=0.61, size=64, edge="pad"), False),
    ],
)
def test_normaliser(slide, in_place, many, spec, early, monkeypatch):
    monkeypatch.setattr(assemble, "MANY", many)
    monkeypatch.setattr(scatter, "MANY", many)
    tiles, normaliser = lay(slide, spec), Inverter(in_place)
    assert Plan.of(slide, tiles, np.arange(len(tiles))).normalised_early == early
    truth = expected(slide, tiles)
    with substituted(slide, Counting(slide.reader, corrupt={(3, 3)})):
        pixels, missing, _ = everything(slide, tiles, normaliser=normaliser)
    assert missing.any() or spec.stride == 200
    assert np.array_equal(pixels[~missing], 255 - truth[~missing])
    assert (pixels[missing] == 255).all()
    assert all(name.startswith("coverslip-tiles") for name in normaliser.threads)


def test_shuffling_is_a_mixed_permutation_that_a_seed_repeats(slide):
    tiles = lay(slide, GridSpec(size=16))
    orders = [np.concatenate([b.index for b in stream(slide, tiles, shuffle=seed)]) for seed in (1, 1, 2)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert np.array_equal(np.sort(orders[0]), np.arange(len(tiles)))
    assert np.abs(np.diff(orders[0])).mean() > 30


def test_level_of_an_odd_ratio_is_copied(make_slide):
    slide = make_slide(1001, 803, factors=(1, 3))
    tiles = lay(slide, GridSpec(mpp=1.5, size=50, stride=37))
    assert slide.levels[1].downsample != 3
    pixels, _, _ = everything(slide, tiles)
    assert np.array_equal(pixels, expected(slide, tiles))
    there = np.rint(tiles.xy / slide.levels[1].downsample).astype(int)
    whole = slide.reader.window(1, 0, 0, Size(slide.levels[1].width, slide.levels[1].height))
    for (x, y), tile in zip(there.tolist(), pixels, strict=True):
        assert np.array_equal(tile, whole[y : y + 50, x : x + 50])


def test_nothing_to_read(slide):
    tiles = lay(slide, GridSpec(size=64)).take([])
    assert list(stream(slide, tiles)) == []
    assert list(stream(slide, tiles, shuffle=0)) == []


def test_wrong_use(slide, tmp_path):
    tiles = lay(slide, GridSpec(size=64))
    for name in ("batch_size", "threads", "depth"):
        with pytest.raises(UsageError, match=f"{name} 0 is too small"):
            stream(slide, tiles, **{name: 0})
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((300, 300), np.uint16), tile=(64, 64))
    with open_slide(tmp_path / "deep.tif", mpp=0.5) as deep, pytest.raises(StainError):
        stream(deep, tiles)


def test_a_corrupt_block_on_disk(tmp_path, pyramid):
    """Bytes of one JPEG tile overwritten in the file itself."""
    path = tmp_path / "torn.tif"
    path.write_bytes(pyramid.read_bytes())
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        number = 5 * page.chunked[1] + 7 if len(page.chunked) > 1 else 0
        offset, count = page.dataoffsets[number], page.databytecounts[number]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    with open_slide(path) as torn:
        tiles = lay(torn, GridSpec(size=64))
        _, missing, batches = everything(torn, tiles)
    assert [(c, r) for c, r in zip(tiles.columns[missing], tiles.rows[missing], strict=True)] == [(7, 5)]
    assert sum(len(batch.errors) for batch in batches) == 1
