"""The inner loop of stain transfer, compiled; see `coverslip.stain.transfer`.

A table gives each byte's logarithm in 16 bits, products of whole numbers unmix the stains, real ones mix them
anew, a curve and a shift make the power: 32 pixels at a time. The vectors are written out since no compiler
finds them. A processor that looks up many bytes at once (AVX-512 VBMI) does; others take one after the other.
All give the same pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numpy.typing import NDArray

from coverslip.core.compiled import compiled, copy_bytes, emitted, fused

TOGETHER = 32
"""Pixels worked on at a time; their 96 bytes are loaded as two vectors that overlap."""

HALF = TOGETHER // 2

CURVE = 2587, 15099, 45153, 65280
"""``c3 - f (c2 - f (c1 - f c0))`` is 65,280 · 2^-f for f from 0 to 1, to 0.03 of the upper byte."""

FRACTION = 12
"""Bits behind the point of the exponents."""

BYTE, WORD, LONG, REAL = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()
BYTES, WORDS = ir.VectorType(BYTE, 64), ir.VectorType(WORD, 32)
LONGS, REALS = ir.VectorType(LONG, 16), ir.VectorType(REAL, 16)


def byte_tables(context: Any) -> bool:
    """Say whether code is made for a processor that looks up 128 bytes at once."""
    return "+avx512vbmi," in context.codegen().magic_tuple()[2] + ","


class _Emitter:
    """Emits the instructions for `TOGETHER` pixels."""

    def __init__(self, context: Any, builder: Any) -> None:
        self._builder, self._fast = builder, byte_tables(context)

    # ------------------------------------------------------------- building blocks
    def load(self, kind: Any, place: Any, shift: int = 0, *, constant: bool = False) -> Any:
        """Load a number or vector `shift` bytes after an address; a constant one may be kept."""
        at = self._builder.add(place, ir.Constant(place.type, shift))
        found = self._builder.load(self._builder.inttoptr(at, kind.as_pointer()), align=1)
        if constant:
            found.set_metadata("invariant.load", self._builder.module.add_metadata([]))
        return found

    def spread(self, kind: Any, place: Any, shift: int) -> Any:
        """Load one constant number as a vector of it."""
        one = self.load(kind.element, place, shift, constant=True)
        first = self._builder.insert_element(ir.Constant(kind, ir.Undefined), one, ir.Constant(LONG, 0))
        return self.pick(first, first, [0] * kind.count)

    def pick(self, first: Any, second: Any, places: list[int]) -> Any:
        """Return chosen elements of two vectors."""
        return self._builder.shuffle_vector(
            first, second, _constant(ir.VectorType(LONG, len(places)), places)
        )

    def call(self, name: str, kind: Any, *values: Any) -> Any:
        """Call an instruction of the compiler's."""
        declared = ir.FunctionType(kind, [value.type for value in values])
        return self._builder.call(
            cgutils.get_or_insert_function(self._builder.module, declared, name), values
        )

    # ----------------------------------------------------------------- logarithms
    def logarithms(self, pixels: Any, table: Any, first: int) -> tuple[Any, Any]:
        """Return those of 16 pixels from byte `first` on: red and green by turns, and blue twice."""
        red_green = [first + 3 * i + c for i in range(HALF) for c in (0, 1)]
        blue = [first + 3 * i + 2 for i in range(HALF) for _ in (0, 1)]
        if not self._fast:
            return self._one_by_one(pixels, table, red_green), self._one_by_one(pixels, table, blue)
        lower, upper = self._at_once(pixels, table, 512), self._at_once(pixels, table, 768)

        def words(places: list[int]) -> Any:
            both = self.pick(lower, upper, [64 * half + place for place in places for half in (0, 1)])
            return self._builder.bitcast(both, WORDS)

        return words(red_green), words(blue)

    def _at_once(self, pixels: Any, table: Any, shift: int) -> Any:
        """Look up bytes in a table of 256 bytes."""
        parts = [self.load(BYTES, table, shift + 64 * i, constant=True) for i in range(4)]
        low, high = (
            self.call("llvm.x86.avx512.vpermi2var.qi.512", BYTES, one, pixels, two)
            for one, two in (parts[:2], parts[2:])
        )
        return self._builder.select(self._builder.icmp_signed("<", pixels, _constant(BYTES, 0)), high, low)

    def _one_by_one(self, pixels: Any, table: Any, places: list[int]) -> Any:
        """Look up chosen bytes in a table of 256 words."""
        found, two = ir.Constant(WORDS, ir.Undefined), ir.Constant(table.type, 2)
        for number, place in enumerate(places):
            byte = self._builder.extract_element(pixels, ir.Constant(LONG, place))
            entry = self._builder.mul(self._builder.zext(byte, table.type), two)
            word = self.load(WORD, self._builder.add(table, entry), constant=True)
            found = self._builder.insert_element(found, word, ir.Constant(LONG, number))
        return found

    # ---------------------------------------------------------- unmixing and mixing
    def exponents(self, logarithms: tuple[Any, Any], whole: Any, mix: Any) -> list[Any]:
        """Return for red, green and blue the exponents of 16 pixels, in `FRACTION` bits."""
        build = self._builder
        lost = [
            self.call("llvm.usub.sat.v32i16", WORDS, self._pairs(whole, 4 * part), logarithm)
            for part, logarithm in enumerate(logarithms)
        ]
        stains = []
        for stain in (8, 16):
            sums = [self._pair_sums(part, self._pairs(whole, stain + 4 * i)) for i, part in enumerate(lost)]
            amount = build.sitofp(build.add(*sums), REALS)
            nothing = _constant(REALS, 0.0)
            stains.append(build.select(build.fcmp_ordered(">", amount, nothing), amount, nothing))
        mixed = []
        for channel in range(3):
            begun = fused(build, [stains[0], self.spread(REALS, mix, 4 * channel), _constant(REALS, 0.5)])
            power = fused(build, [stains[1], self.spread(REALS, mix, 12 + 4 * channel), begun])
            mixed.append(build.fptosi(power, LONGS))
        return mixed

    def _pairs(self, whole: Any, shift: int) -> Any:
        """Load two constant words as a vector of them by turns."""
        return self._builder.bitcast(self.spread(LONGS, whole, shift), WORDS)

    def _pair_sums(self, words: Any, factors: Any) -> Any:
        """Return the sum of each two products that follow each other."""
        if self._fast:
            return self.call("llvm.x86.avx512.pmaddw.d.512", LONGS, words, factors)
        build, half = self._builder, _constant(LONGS, 16)
        pairs = [build.bitcast(part, LONGS) for part in (words, factors)]
        upper = build.mul(*(build.ashr(pair, half) for pair in pairs))
        return build.add(upper, build.mul(*(build.ashr(build.shl(pair, half), half) for pair in pairs)))

    # ----------------------------------------------------------------------- powers
    def powers(self, first: Any, second: Any) -> Any:
        """Return 255 · 2^-x in the upper bytes of words, of 16 exponents and 16 others, four by turns."""
        build = self._builder
        exponent = self._packed(first, second)
        part = build.shl(exponent, _constant(WORDS, 16 - FRACTION))
        curve = self._share(part, _constant(WORDS, CURVE[0]))
        for factor in CURVE[1:3]:
            curve = self._share(part, build.sub(_constant(WORDS, factor), curve))
        top = build.sub(_constant(WORDS, CURVE[3]), curve)
        shifted = build.lshr(top, build.lshr(exponent, _constant(WORDS, FRACTION)))
        return build.bitcast(build.add(shifted, _constant(WORDS, 128)), BYTES)

    def _packed(self, first: Any, second: Any) -> Any:
        """Return numbers cut off at 0 and 65,535, four of each by turns."""
        if self._fast:
            return self.call("llvm.x86.avx512.packusdw.512", WORDS, first, second)
        cut = []
        for numbers in (first, second):
            low = self.call("llvm.smax.v16i32", LONGS, numbers, _constant(LONGS, 0))
            cut.append(self.call("llvm.smin.v16i32", LONGS, low, _constant(LONGS, 65535)))
        words = [self._builder.trunc(numbers, ir.VectorType(WORD, HALF)) for numbers in cut]
        return self.pick(
            *words, [HALF * which + 4 * i + k for i in range(4) for which in (0, 1) for k in range(4)]
        )

    def _share(self, one: Any, two: Any) -> Any:
        """Return the upper halves of the products of unsigned words."""
        wide = ir.VectorType(LONG, WORDS.count)
        product = self._builder.mul(self._builder.zext(one, wide), self._builder.zext(two, wide))
        return self._builder.trunc(self._builder.lshr(product, _constant(wide, 16)), WORDS)

    def together(self, red: Any, green: Any, blue: Any) -> tuple[Any, Any]:
        """Return the upper bytes of `powers` as pixels: the first 64 bytes and the last 32."""
        places = []  # of each pixel's byte within its channel's vector
        for pixel in range(TOGETHER):
            which, within = divmod(pixel, HALF)
            places.append(2 * (8 * (within // 4) + 4 * which + within % 4) + 1)
        bytes_of = [(pixel, channel) for pixel in range(TOGETHER) for channel in range(3)]
        parts = []
        for wanted in (bytes_of[:64], bytes_of[64:]):
            two = self.pick(red, green, [places[p] + 64 * (c == 1) for p, c in wanted])
            wide = self.pick(two, two, [i % len(wanted) for i in range(64)]) if len(wanted) < 64 else two
            parts.append(
                self.pick(wide, blue, [64 + places[p] if c == 2 else i for i, (p, c) in enumerate(wanted)])
            )
        return parts[0], parts[1]


def _constant(kind: Any, value: float | list[int]) -> Any:
    return ir.Constant(kind, value if isinstance(value, list) else [value] * kind.count)


@emitted
def transfer_together(context: Any, source: Any, target: Any, table: Any, whole: Any, mix: Any) -> Any:  # noqa: ARG001, PLR0917 - numba's protocol
    """Do what `transfer` does for `TOGETHER` pixels, all given by addresses."""
    return types.void(source, target, table, whole, mix), _transfer_together


def _transfer_together(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
    source, target, table, whole, mix = values
    emit = _Emitter(context, builder)
    halves = [
        emit.exponents(emit.logarithms(emit.load(BYTES, source, shift), table, first), whole, mix)
        for shift, first in ((0, 0), (32, 16))
    ]
    made = emit.together(*(emit.powers(*channel) for channel in zip(*halves, strict=True)))
    for part, shift in zip(made, (0, 64), strict=True):
        place = builder.add(target, ir.Constant(target.type, shift))
        builder.store(part, builder.inttoptr(place, part.type.as_pointer()), align=1)
    return context.get_dummy_value()


@compiled("void(uint8[::1], uint8[::1], uint8[::1], int16[::1], float32[::1])")
def transfer(
    rgb: NDArray[np.uint8],
    out: NDArray[np.uint8],
    table: NDArray[np.uint8],
    whole: NDArray[np.int16],
    mix: NDArray[np.float32],
) -> None:
    """Unmix the colours of pixels into two stains and mix them anew.

    Parameters
    ----------
    rgb, out
        Red, green and blue in turn, (3 n,); may be the same.
    table
        Logarithms of the grey values as 16-bit words, then all their lower bytes, then all upper, (1024,).
    whole
        Logarithms of the glass, then the factors that unmix the first stain and the second: each for red,
        green, blue, and a 0, (12,).
    mix
        Factors that make exponents, in units of 2^-`FRACTION`, of the first stain and of the second, (6,).
    """
    step = 3 * TOGETHER
    numbers = table.ctypes.data, whole.ctypes.data, mix.ctypes.data
    whole_steps = rgb.shape[0] // step * step
    for start in range(0, whole_steps, step):
        transfer_together(rgb.ctypes.data + start, out.ctypes.data + start, *numbers)
    if whole_steps < rgb.shape[0]:
        rest = np.zeros(step, np.uint8)
        copy_bytes(rest, rgb[whole_steps:])
        transfer_together(rest.ctypes.data, rest.ctypes.data, *numbers)
        copy_bytes(out[whole_steps:], rest[: rgb.shape[0] - whole_steps])
