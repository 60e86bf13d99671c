"""Which pixels a fit looks at, and when it must refuse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError
from coverslip.stain.density import Background, as_background, to_od
from coverslip.stain.matrices import RUIFROK_JOHNSTON, StainMatrix

FAINT = 0.065
"""Decades of mean optical density under which a pixel shows glass, not stain (Macenko's 0.15 in nepers)."""

BLACK = 1.6
"""Decades of density in the lightest channel over which a pixel shows ink or dirt, not stain."""

INK = 0.7
"""Green density over red under which a colour is blue or green ink: both stains absorb more green."""

ENOUGH = 500
"""Stained pixels that a fit needs."""

MOST = 100_000
"""Pixels that a fit looks at; of more, a fixed random choice."""

SEPARATE = 8.0
"""Degrees between two stains under which they are one stain and noise."""

STRONG = 99.0
"""Percentile of a stain's amounts that counts as its strength."""

MEND = "use a fixed matrix, RUIFROK_JOHNSTON['H&E'], or leave the slide out of normalisation"


def stained_pixels(pixels: NDArray[np.uint8], background: Background) -> NDArray[np.uint8]:
    """Return the stained pixels (m, 3) among `pixels`, at most `MOST`: no glass, no ink, no dirt.

    Raises
    ------
    StainError
        When fewer than `ENOUGH` pixels show stain.
    """
    flat = pixels.reshape(-1, 3)
    od = to_od(flat, background)
    red, green, _ = od.T
    keep = np.flatnonzero((od.mean(axis=1) > FAINT) & (od.min(axis=1) < BLACK) & (green > INK * red))
    if len(keep) < ENOUGH:
        raise StainError(
            f"{len(keep)} of {len(flat)} pixels show stain: expected at least {ENOUGH} to find its colours",
            mend=MEND,
        )
    if len(keep) > MOST:
        keep = np.random.default_rng(0).choice(keep, MOST, replace=False)
    return np.asarray(flat[keep])


def stained(pixels: NDArray[np.uint8], background: Background) -> NDArray[np.float32]:
    """Return the optical densities (m, 3) of `stained_pixels`; raises `StainError` as that does."""
    return to_od(stained_pixels(pixels, background), background)


def as_he(vectors: NDArray[np.float64], od: NDArray[np.float32], background: Background) -> StainMatrix:
    """Name two fitted vectors haematoxylin and eosin, check that they can be, and measure their strength.

    Haematoxylin is the vector with the greater red part: blue dye takes away red, pink dye lets it pass.

    Raises
    ------
    StainError
        When there is only one stain, or the second is a brown one.
    """
    _refuse_single(od)
    vectors = np.clip(vectors, 0, None)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = unit[np.argsort(-unit[:, 0])]
    _refuse_brown(unit)
    amounts = od @ np.linalg.pinv(unit)
    strengths = np.maximum(np.percentile(amounts, STRONG, axis=0), 1e-3)
    names = RUIFROK_JOHNSTON["H&E"].names
    rows = tuple((float(r), float(g), float(b)) for r, g, b in unit)
    return StainMatrix(names, rows, tuple(strengths.tolist()), as_background(background))


def directions(od: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the plane (3, 2) in which the densities (m, 3) mostly lie, and each one's angle in it."""
    _, axes = np.linalg.eigh(od.T.astype(np.float64) @ od)  # about 0, where no stain is: not about the mean
    plane = axes[:, [2, 1]]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    along = od @ plane
    return plane, np.arctan2(along[:, 1], along[:, 0])


def _refuse_single(od: NDArray[np.float32]) -> None:
    _, angles = directions(od)
    angle = float(np.degrees(np.ptp(np.percentile(angles, [1, 99]))))
    if angle < SEPARATE:
        raise StainError(
            f"the colours span {angle:.1f}°, so there is one stain: expected haematoxylin and eosin, "
            f"at least {SEPARATE}° apart",
            mend=MEND,
        )


def _refuse_brown(unit: NDArray[np.float64]) -> None:
    if unit[1, 2] > unit[1, 1]:
        raise StainError(
            f"the second stain absorbs blue ({unit[1, 2]:.2f}) more than green ({unit[1, 1]:.2f}): "
            "that is brown, not eosin",
            mend="for immunohistochemistry use RUIFROK_JOHNSTON['H-DAB']",
        )
