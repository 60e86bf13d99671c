"""Give the stains of one slide the colours and strengths of another's."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coverslip.stain.chain import prepared
from coverslip.stain.density import WHITE
from coverslip.stain.matrices import StainMatrix

BIAS = 127
"""What a float32 adds to its exponent."""

BITS = 2.0**23
"""Steps of a float32 from one exponent to the next."""


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
    _numbers: tuple[NDArray[np.float32], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scale = np.array(self.target.max_concentrations) / np.array(self.source.max_concentrations)
        unmix = np.linalg.pinv(self.source.array) * scale
        mix = np.vstack([self.target.array, np.full(3, np.log2(WHITE) + BIAS)]) * BITS
        glass = np.log2(self.source.background) + BIAS
        numbers = tuple(np.ascontiguousarray(part, np.float32) for part in (glass, unmix, mix))
        object.__setattr__(self, "_numbers", numbers)

    def __call__(self, rgb: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Map uint8 (…, 3); into `out` (contiguous, of the same shape, may be `rgb` itself) when given.

        Raises
        ------
        UsageError
            When `rgb` is not uint8 (…, 3), or `out` does not fit.
        """
        from coverslip.stain.kernels import transfer

        given, made = prepared(rgb, out)
        transfer(given.reshape(-1), made.reshape(-1), *self._numbers)
        return made
