"""Copying past the cache, compiled; see `coverslip.tiles.assemble`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numpy.typing import NDArray

from coverslip.core.compiled import compiled, emitted
from coverslip.tiles.buffers import LINE


@emitted
def copy_past(context: Any, target: Any, source: Any, count: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """Copy `count` bytes between two addresses; whole lines of the cache go straight to memory.

    A plain store first reads the line that it is about to overwrite. Tiles of a batch are more than the cache
    holds and nobody reads them soon: wasted time of the memory (measured: 0.018 against 0.046 ms a tile).
    """
    return types.void(target, source, count), _copy_past


def _copy_past(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
    target, source, count = values
    number, lines = count.type, ir.VectorType(ir.IntType(8), LINE)
    line = ir.Constant(number, LINE)

    def copy(shift: Any, length: Any) -> None:
        to, of = (builder.inttoptr(builder.add(at, shift), cgutils.voidptr_t) for at in (target, source))
        with builder.if_then(builder.icmp_signed(">", length, ir.Constant(number, 0))):
            cgutils.raw_memcpy(builder, to, of, length, 1)  # type: ignore[no-untyped-call]

    before = builder.and_(builder.neg(target), ir.Constant(number, LINE - 1))
    head = builder.select(builder.icmp_signed("<", before, count), before, count)
    copy(ir.Constant(number, 0), head)
    whole = builder.sdiv(builder.sub(count, head), line)
    with cgutils.for_range(builder, whole) as loop:
        shift = builder.add(head, builder.mul(builder.zext(loop.index, number), line))
        to, of = (builder.inttoptr(builder.add(at, shift), lines.as_pointer()) for at in (target, source))
        stored = builder.store(builder.load(of, align=1), to, align=LINE)
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
    done = builder.add(head, builder.mul(whole, line))
    copy(done, builder.sub(count, done))
    return context.get_dummy_value()


@compiled("void(uint8[:, :, :], uint8[:, :, :, ::1], int64, int64, int64)")
def cut_past(block: NDArray[np.uint8], tiles: NDArray[np.uint8], left: int, top: int, step: int) -> None:
    """Do what `coverslip.tiles.assemble.cut` does; pixels of a row of `block` must follow each other."""
    high, wide = block.shape[0], block.shape[1]
    count, height, width = tiles.shape[0], tiles.shape[1], tiles.shape[2]
    source, target = block.ctypes.data, tiles.ctypes.data
    first, last = max(top, 0), min(top + high, height)
    for place in range(max(0, (left - width) // step + 1), min(count, (left + wide - 1) // step + 1)):
        shift = left - place * step
        begin, end = max(shift, 0), min(shift + wide, width)
        for row in range(first, last):
            to = target + 3 * ((place * height + row) * width + begin)
            copy_past(to, source + (row - top) * block.strides[0] + 3 * (begin - shift), 3 * (end - begin))


@compiled("void(UniTuple(int64, 4), UniTuple(int64, 2), int32[::1], int32[:, ::1], int64[::1], int64, int64)")
def deal_out(  # noqa: PLR0917 - kernels take no names
    block: tuple[int, int, int, int],
    corner: tuple[int, int],
    places: NDArray[np.int32],
    corners: NDArray[np.int32],
    batches: NDArray[np.int64],
    batch_size: int,
    size: int,
) -> None:
    """Copy a block to the tiles that it touches, past the cache.

    Parameters
    ----------
    block
        Address, bytes from row to row, height and width: an address, since a reader may forbid writing there.
        Pixels of a row must follow each other.
    corner
        Where it starts on the level, (x, y).
    places
        The tiles.
    corners
        Where each tile starts on the level, (n, 2).
    batches
        Addresses of the pixels of batches; tile ``place`` is number ``place % batch_size`` of its batch.
    size
        Pixels of a tile's side.
    """
    source, stride, high, wide = block
    for place in places:
        target = batches[place // batch_size] + 3 * size * size * (place % batch_size)
        across, down = corner[0] - corners[place, 0], corner[1] - corners[place, 1]
        begin, end = max(across, 0), min(across + wide, size)
        for row in range(max(down, 0), min(down + high, size)):
            to = target + 3 * (row * size + begin)
            copy_past(to, source + (row - down) * stride + 3 * (begin - across), 3 * (end - begin))
