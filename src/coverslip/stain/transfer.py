"""Give the stains of one slide the colours and strengths of another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from coverslip.stain.chain import prepared
from coverslip.stain.density import DARKEST, WHITE
from coverslip.stain.matrices import StainMatrix

MOST = 32767
"""Largest 16-bit number; it stands for the light that black has lost."""

EXPONENT = 4096
"""What a power of 2 is counted in by `coverslip.stain.kernels`."""


def logarithms() -> NDArray[np.uint8]:
    """Return the table of logarithms, 0 for black, as `coverslip.stain.kernels.transfer` wants it."""
    values = np.log2(np.maximum(np.arange(256), DARKEST) / DARKEST)
    words = np.rint(values * (MOST / np.log2(WHITE / DARKEST))).astype("<u2")
    return np.concatenate([words.view(np.uint8), words.astype(np.uint8), (words >> 8).astype(np.uint8)])


@dataclass(frozen=True, slots=True)
class StainTransfer:
    """The map that gives the source's two stains the target's colours and strengths.

    Unmix and scale, then mix, in optical density. In between, an amount below 0 (noise, or a colour that is
    no stain) becomes 0: a stronger target would blow it up to a colour that no tissue has. Logarithms are to
    base 2 here, which changes no amount.

    Parameters
    ----------
    source, target
        Two stains each.
    """

    source: StainMatrix
    target: StainMatrix
    _numbers: tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.float32]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        scale = np.array(self.target.max_concentrations) / np.array(self.source.max_concentrations)
        unmix = (np.linalg.pinv(self.source.array) * scale).T  # (2, 3)
        unit = MOST / np.log2(WHITE / DARKEST)
        # three products of 16 bits must not be more than 31 bits together
        size = np.minimum(MOST / np.abs(unmix).max(axis=1), 65533 / np.abs(unmix).sum(axis=1))
        # amounts are below 2^31: no exponent leaves 32 bits, however strong the target
        mix = np.minimum(self.target.array * (EXPONENT / (unit * size))[:, None], 0.49)
        glass = np.log2(np.array(self.source.background) / DARKEST) * unit
        whole = np.zeros((3, 4))
        whole[0, :3], whole[1:, :3] = glass, unmix * size[:, None]
        numbers = logarithms(), np.rint(whole).astype(np.int16).ravel(), mix.astype(np.float32).ravel()
        object.__setattr__(self, "_numbers", numbers)

    def __call__(self, rgb: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Map uint8 (…, 3); into `out` (contiguous, of the same shape, may be `rgb` itself) when given.

        Raises
        ------
        UsageError
            When `rgb` is not uint8 (…, 3), or `out` does not fit.
        """
        given, made = prepared(rgb, out)
        _kernel()(given.reshape(-1), made.reshape(-1), *self._numbers)
        return made


@cache
def _kernel() -> Callable[..., None]:
    """Return the compiled loop; loading it takes a while."""
    from coverslip.stain.kernels import transfer

    return transfer
