"""The inner loop of stain transfer, compiled; see `coverslip.stain.transfer`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.compiled import bits_of, compiled, copy_bytes, inlined, madd, real_of

PIECE = 4096
"""Pixels worked on at a time, in memory of their own: when the result overwrites what it is made of, the
compiler makes no vectors."""

MANTISSA, ONE = np.int32(0x007F_FFFF), np.int32(0x3F80_0000)
"""Bits of a float32: those of its mantissa, and 1.0."""

STEP = np.float32(2.0**-23)
"""Value of the last bit of a float32 when its bits are taken for a logarithm."""

L0, L1, L2, L3, L4 = (
    np.float32(c) for c in (-1.49835315, 3.02921139, -2.07833517, 0.626032182, -0.0784406762)
)
"""``log2(m) - (m - 1)`` for m from 1 to 2, to 1.2e-4 (interpolated at Chebyshev's points)."""

E0, E1, E2, E3, E4 = (
    np.float32(c) for c in (2.11542092, -2.34569667, 1.72170376, -0.569306592, 0.0777302536)
)
"""``2 ** (m - 1) / m`` for m from 1 to 2, to 1.5e-4."""

LEAST = np.float32(27 * 2.0**23)
"""Bits of 2^-100: nothing is darker."""

DARKEST = np.float32(0.49)
"""What stands for black, as in `coverslip.stain.density`."""


@inlined
def least(a: float, b: float) -> float:
    """Return the smaller number; ``min`` looks for NaN, too, and makes no vectors."""
    return a if a < b else b


@inlined
def most(a: float, b: float) -> float:
    """Return the larger number."""
    return a if a > b else b


@inlined
def mantissa(bits: int) -> float:
    """Return the mantissa of a positive float32 given by its bits, 1 to 2."""
    return real_of((bits & MANTISSA) | ONE)


@inlined
def light_lost(grey: int, glass: float) -> float:
    """Return the logarithm to base 2 of a grey value over the glass's, not above 0.

    `glass` is the logarithm of the glass's, plus the 127 that a float32 adds to its exponent. The bits of a
    number, taken as a whole number, are nearly its logarithm; a curve mends the rest.
    """
    bits = bits_of(most(np.float32(grey), DARKEST))
    m = mantissa(bits)
    curve = madd(madd(madd(madd(L4, m, L3), m, L2), m, L1), m, L0 - glass)
    return least(madd(np.float32(bits), STEP, curve), np.float32(0))


@inlined
def grey_value(power: float) -> int:
    """Return 2 to a power, rounded. The power is counted in bits of a float32, see `STEP`."""
    bits = np.int32(most(power, LEAST))
    m = mantissa(bits)
    curve = madd(madd(madd(madd(E4, m, E3), m, E2), m, E1), m, E0)
    return np.uint8(np.int32(madd(real_of(bits), curve, np.float32(0.5))))


@inlined
def transfer_piece(
    rgb: NDArray[np.uint8],
    out: NDArray[np.uint8],
    glass: NDArray[np.float32],
    a: NDArray[np.float32],
    b: NDArray[np.float32],
) -> None:
    """Do what `transfer` does, for a few pixels."""
    glass_r, glass_g, glass_b = glass[0], glass[1], glass[2]
    a00, a01, a10, a11, a20, a21 = a[0, 0], a[0, 1], a[1, 0], a[1, 1], a[2, 0], a[2, 1]
    b00, b01, b02, b10, b11, b12, b20, b21, b22 = (
        b[0, 0],
        b[0, 1],
        b[0, 2],
        b[1, 0],
        b[1, 1],
        b[1, 2],
        b[2, 0],
        b[2, 1],
        b[2, 2],
    )
    nothing = np.float32(0)
    for i in range(rgb.shape[0] // 3):
        red, green = light_lost(rgb[3 * i], glass_r), light_lost(rgb[3 * i + 1], glass_g)
        blue = light_lost(rgb[3 * i + 2], glass_b)
        one = least(madd(red, a00, madd(green, a10, blue * a20)), nothing)
        two = least(madd(red, a01, madd(green, a11, blue * a21)), nothing)
        out[3 * i] = grey_value(madd(one, b00, madd(two, b10, b20)))
        out[3 * i + 1] = grey_value(madd(one, b01, madd(two, b11, b21)))
        out[3 * i + 2] = grey_value(madd(one, b02, madd(two, b12, b22)))


@compiled("void(uint8[::1], uint8[::1], float32[::1], float32[:, ::1], float32[:, ::1])")
def transfer(
    rgb: NDArray[np.uint8],
    out: NDArray[np.uint8],
    glass: NDArray[np.float32],
    unmix: NDArray[np.float32],
    mix: NDArray[np.float32],
) -> None:
    """Unmix the colours of pixels into two stains and mix them anew.

    Parameters
    ----------
    rgb, out
        Red, green and blue in turn, (3 n,); may be the same.
    glass
        As `light_lost` expects it, of red, green and blue.
    unmix
        (3, 2), from the logarithms of light to those of what each stain lets through.
    mix
        (3, 3), from there, the last row added, to powers as `grey_value` expects them.
    """
    made = np.empty(3 * PIECE, np.uint8)
    for start in range(0, rgb.shape[0], 3 * PIECE):
        stop = min(start + 3 * PIECE, rgb.shape[0])
        transfer_piece(rgb[start:stop], made, glass, unmix, mix)
        copy_bytes(out[start:stop], made[: stop - start])
