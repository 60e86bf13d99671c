"""The inner loops of area resampling, compiled; see `coverslip.slides.resample`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numpy.typing import NDArray

from coverslip.core.compiled import compiled, copy_bytes, emitted, fused, inlined, madd

TOGETHER = 3
"""Rows that are averaged in one go; the usual scales touch no more."""


@emitted
def mean_pixel(  # noqa: PLR0917 - numba's protocol
    context: Any,  # noqa: ARG001
    row: Any,
    start: Any,
    weights: Any,
    out: Any,
    place: Any,
) -> Any:
    """Write the sums of ``weights[k] · row[start + 3k : start + 3k + 3]``, rounded, to `out` from `place` on.

    The three channels are one vector, which the compiler does not see by itself (measured: 0.07 against
    0.19 ms for 256 × 256 px). The vector has a fourth element: one number more is read, and one byte more is
    written, which the next pixel overwrites.
    """
    return types.void(row, start, weights, out, place), _mean_pixel


def _mean_pixel(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    def array(number: int) -> Any:
        return context.make_array(signature.args[number])(context, builder, values[number])

    row, start, weights, out, place = array(0), values[1], array(2), array(3), values[4]
    four, byte = ir.VectorType(ir.FloatType(), 4), ir.VectorType(ir.IntType(8), 4)
    total = cgutils.alloca_once_value(builder, ir.Constant(four, [0.5] * 4))  # type: ignore[no-untyped-call]
    with cgutils.for_range(builder, builder.extract_value(weights.shape, 0)) as loop:
        shift = builder.mul(loop.index, ir.Constant(loop.index.type, 3))
        pixel = builder.gep(row.data, [builder.add(start, shift)])
        pixel = builder.load(builder.bitcast(pixel, four.as_pointer()), align=4)
        weight = _four_times(builder, builder.load(builder.gep(weights.data, [loop.index])))
        builder.store(fused(builder, [weight, pixel, builder.load(total)]), total)
    whole = builder.fptosi(builder.load(total), ir.VectorType(ir.IntType(32), 4))
    target = builder.bitcast(builder.gep(out.data, [place]), byte.as_pointer())
    builder.store(builder.trunc(whole, byte), target, align=1)
    return context.get_dummy_value()


def _four_times(builder: Any, value: Any) -> Any:
    empty = ir.Constant(ir.VectorType(value.type, 4), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), 4), [0] * 4))


@inlined
def mean_rows(
    source: NDArray[np.uint8], first: int, weights: NDArray[np.float32], row: NDArray[np.float32]
) -> None:
    """Write the weighted sum of the rows of `source` (h, n) from `first` on to `row`."""
    last = source.shape[0] - 1
    above, middle, below = source[first], source[min(first + 1, last)], source[min(first + 2, last)]
    for i in range(source.shape[1]):
        begun = madd(weights[1], np.float32(middle[i]), weights[0] * np.float32(above[i]))
        row[i] = madd(weights[2], np.float32(below[i]), begun)
    for k in range(TOGETHER, weights.shape[0]):
        further = source[min(first + k, last)]
        for i in range(source.shape[1]):
            row[i] = madd(weights[k], np.float32(further[i]), row[i])


@compiled("void(uint8[:, ::1], uint8[:, ::1], int64[::1], float32[:, ::1], int64[::1], float32[:, ::1])")
def mean_areas(  # noqa: PLR0917 - kernels take no names
    source: NDArray[np.uint8],
    out: NDArray[np.uint8],
    first_x: NDArray[np.int64],
    weights_x: NDArray[np.float32],
    first_y: NDArray[np.int64],
    weights_y: NDArray[np.float32],
) -> None:
    """Average areas of `source` (h, 3 w) to the pixels of `out` (height, 3 width).

    Parameters
    ----------
    first_x, first_y
        First source pixel of each output pixel.
    weights_x, weights_y
        Weights (pixels, taps) from there on, at least `TOGETHER`; those beyond the source are 0.
    """
    height, width, taps = first_y.shape[0], first_x.shape[0], weights_x.shape[1]
    row = np.zeros(source.shape[1] + 3 * taps + 1, np.float32)
    line = np.empty(3 * width + 1, np.uint8)
    for y in range(height):
        mean_rows(source, first_y[y], weights_y[y], row)
        for x in range(width):
            mean_pixel(row, 3 * first_x[x], weights_x[x], line, 3 * x)
        copy_bytes(out[y], line[: 3 * width])
