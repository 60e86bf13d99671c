"""Kernels compiled by numba, for the few loops that no library has.

Only modules named ``kernels`` import this one, and they are imported by the function that needs them: numba
and a first kernel take half a second to load. Kernels hold no GIL. They are compiled once for a machine and
kept beside their module or in the user's cache folder; where neither can be written they are compiled anew in
each process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(signature: str, *, keep: bool = True) -> Callable[[Kernel], Kernel]:
    """Compile a function for one signature, now: no caller waits for another thread's compiler later.

    Parameters
    ----------
    signature
        As of ``numba.njit``.
    keep
        Keep the machine code for the next process.

    Examples
    --------
    >>> import numpy as np
    >>> @compiled("float32(float32[::1])", keep=False)
    ... def total(values):
    ...     found = np.float32(0)
    ...     for value in values:
    ...         found = madd(value, np.float32(1), found)
    ...     return found
    >>> total(np.arange(4, dtype=np.float32))
    6.0
    """

    def make(function: Kernel) -> Kernel:
        try:
            kernel = _compile(function, signature, keep)
        except RuntimeError as error:
            if "cannot cache function" not in str(error):
                raise
            kernel = _compile(function, signature, keep=False)
        return kernel

    return make


def _compile(function: Kernel, signature: str, keep: bool) -> Kernel:
    made: Any = numba.njit(signature, nogil=True, error_model="numpy", cache=keep)(function)
    return cast(Kernel, made)


def inlined(function: Kernel) -> Kernel:
    """Compile a helper of kernels, into whatever calls it."""
    made: Any = numba.njit(function)
    return cast(Kernel, made)


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a helper of kernels of a function that emits the compiler's own instructions."""
    made: Callable[..., Any] = intrinsic(function)
    return made


def fused(builder: Any, values: Any) -> Any:
    """Emit ``a · b + c`` for three numbers or vectors of numbers."""
    kind = values[0].type
    name = f"llvm.fmuladd.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.fmuladd.f32"
    declare: Callable[..., Any] = cgutils.get_or_insert_function
    return builder.call(declare(builder.module, ir.FunctionType(kind, [kind] * 3), name), values)


@emitted
def madd(context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """Return ``a · b + c``, rounded once where the processor can.

    The compiler decides on its own to fuse or not, perhaps differently for the last pixels of a row; this
    gives the same bits wherever a pixel stands.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        return fused(builder, values)

    return types.float32(types.float32, types.float32, types.float32), generate


@emitted
def copy_bytes(context: Any, target: Any, source: Any) -> Any:  # noqa: ARG001
    """Copy a uint8 array to the start of another; numba's own assignment goes byte by byte."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to, of = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, values, strict=True)
        )
        copy: Callable[..., Any] = cgutils.raw_memcpy
        copy(builder, to.data, of.data, of.nitems, 1)
        return context.get_dummy_value()

    return types.void(target, source), generate


@emitted
def bits_of(context: Any, value: Any) -> Any:  # noqa: ARG001
    """Return the bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return types.int32(types.float32), generate


@emitted
def real_of(context: Any, value: Any) -> Any:  # noqa: ARG001
    """Return the float32 that an int32 holds the bits of."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return types.float32(types.int32), generate
