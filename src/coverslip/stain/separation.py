"""From colours to amounts of stain and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.stain.density import from_od, to_od
from coverslip.stain.matrices import StainMatrix


def separate(rgb: NDArray[np.uint8], stains: StainMatrix) -> NDArray[np.float32]:
    """Return the amount of each stain in each pixel, by least squares in optical density.

    Parameters
    ----------
    rgb
        uint8 (…, 3).
    stains
        k stains, 2 or 3.

    Returns
    -------
    numpy.ndarray
        float32 (…, k), in decades along each vector. Noise and colours that no stain makes give small
        negative amounts; they are kept, so that three stains recombine exactly. Clip at 0 before measuring.

    Examples
    --------
    >>> from coverslip.stain import RUIFROK_JOHNSTON
    >>> tile = np.full((2, 2, 3), (150, 90, 160), np.uint8)
    >>> separate(tile, RUIFROK_JOHNSTON["H&E"])[0, 0].round(2).tolist()
    [0.3700000047683716, 0.20000000298023224]
    """
    return np.asarray(to_od(rgb, stains.background) @ unmixing(stains))


def unmixing(stains: StainMatrix) -> NDArray[np.float32]:
    """Return the matrix (3, k) that takes optical density to amounts."""
    return np.linalg.pinv(stains.array).astype(np.float32)


def recombine(concentrations: NDArray[np.float32], stains: StainMatrix) -> NDArray[np.uint8]:
    """Return the colours uint8 (…, 3) of amounts (…, k); the inverse of `separate`.

    Set a stain's amounts to 0 to take it out of the picture.

    Raises
    ------
    UsageError
        When there is not one amount for each stain.
    """
    if concentrations.shape[-1] != len(stains.names):
        raise UsageError(
            f"amounts {concentrations.shape}: expected (…, {len(stains.names)}), one for each stain"
        )
    return from_od(concentrations @ stains.array.astype(np.float32), stains.background)
