"""What a pixel classifier sees of a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.stain import StainMatrix, separate

SIGMAS_UM = (2.0, 6.0, 16.0, 40.0)
"""Standard deviations of the Gaussians over which amounts are averaged, in µm."""

SPREADS_UM = (6.0, 16.0)
"""Those over which their spread is taken."""

EMPTY = 0.12
"""Sum of both stains, as a share of their strengths, under which a pixel shows no tissue."""

FEATURES = (
    *(f"{what}_{sigma:g}" for what in ("first", "second", "empty") for sigma in SIGMAS_UM),
    *(f"{what}_sd_{sigma:g}" for what in ("first", "second") for sigma in SPREADS_UM),
)
"""Names, in the order of the columns."""

REACH = 2.5
"""Standard deviations beyond which a Gaussian is cut off."""


def margin_px(mpp: float) -> int:
    """Return how many pixels around a picture its features depend on."""
    return int(np.ceil(REACH * max(SIGMAS_UM) / mpp)) + 1


def features_of(rgb: NDArray[np.uint8], mpp: float, stains: StainMatrix) -> NDArray[np.float32]:
    """Return the features of every pixel.

    Amounts are divided by the slide's strength of the stain, so that pale and dark slides look alike.

    Parameters
    ----------
    rgb
        uint8 (h, w, 3).
    mpp
        Microns per pixel.
    stains
        Of the slide.

    Returns
    -------
    float32 (h, w, len(FEATURES)).

    Examples
    --------
    >>> from coverslip.stain import RUIFROK_JOHNSTON
    >>> white = np.full((8, 8, 3), 255, np.uint8)
    >>> features_of(white, 2.0, RUIFROK_JOHNSTON["H&E"])[4, 4, 8:12].round(3).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    import cv2

    strengths = np.asarray(stains.max_concentrations[:2], np.float32)
    amounts = np.clip(separate(rgb, stains)[..., :2] / strengths, 0, 2)
    empty = (amounts.sum(axis=-1) < 2 * EMPTY).astype(np.float32)
    planes = {"first": amounts[..., 0], "second": amounts[..., 1], "empty": empty}

    def blurred(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        side = 2 * int(np.ceil(REACH * sigma / mpp)) + 1
        soft = cv2.GaussianBlur(np.ascontiguousarray(plane), (side, side), sigma / mpp)
        return np.asarray(soft, np.float32)

    found = [blurred(plane, sigma) for plane in planes.values() for sigma in SIGMAS_UM]
    for name in ("first", "second"):
        for sigma in SPREADS_UM:
            mean = found[FEATURES.index(f"{name}_{sigma:g}")]
            found.append(np.sqrt(np.maximum(blurred(planes[name] ** 2, sigma) - mean**2, 0)))
    return np.stack(found, axis=-1)
