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

BLUEST = 0.8
"""Green density over red under which a colour is blue or green ink: both stains absorb more green."""

YELLOWEST = 0.85
"""Blue density over green above which a colour is red or black ink, or brown: the stains absorb less blue."""

BROWN = 0.01
"""Share of the stained pixels that may absorb more blue than green before the slide is called brown."""

OFF_PLANE, SPREADS = 2.5, 3.0
"""A colour is ink over tissue when it is off the plane of the stains by more than so many degrees and
more than so many robust standard deviations: real tissue has other colours, such as blood, and a
thicker plane."""

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
        When fewer than `ENOUGH` pixels show stain, or many are brown.
    """
    flat = pixels.reshape(-1, 3)
    if len(flat) > 4 * MOST:
        flat = flat[np.random.default_rng(0).choice(len(flat), 4 * MOST, replace=False)]
    od = to_od(flat, background)
    keep = np.flatnonzero((od.mean(axis=1) > FAINT) & (od.min(axis=1) < BLACK))
    red, green, blue = od[keep].T
    if len(keep) >= ENOUGH and brown(red, green, blue).mean() > BROWN:
        raise StainError(
            f"over {BROWN:.0%} of the stained pixels absorb blue more than green: that is brown, not eosin",
            mend="for immunohistochemistry use RUIFROK_JOHNSTON['H-DAB']",
        )
    keep = keep[(green > BLUEST * red) & (blue < YELLOWEST * green)]
    if len(keep) < ENOUGH:
        raise StainError(
            f"{len(keep)} of {len(flat)} pixels show stain: expected at least {ENOUGH} to find its colours",
            mend=MEND,
        )
    keep = keep[_in_plane(od[keep])]
    if len(keep) > MOST:
        keep = np.random.default_rng(0).choice(keep, MOST, replace=False)
    return np.asarray(flat[keep])


def brown(
    red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Say which densities are brown (DAB, also over blue): blue most, red least, neither faint nor black."""
    return (blue > 1.05 * green) & (red > 0.3 * blue) & (red < 0.8 * blue) & (blue > 0.3) & (blue < 1.5)


def _in_plane(od: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which densities lie in the plane that most lie in, found again without those that do not."""
    unit = od / np.linalg.norm(od, axis=1, keepdims=True)
    keep = np.ones(len(od), bool)
    for _ in range(3):
        _, axes = np.linalg.eigh(unit[keep].T.astype(np.float64) @ unit[keep])
        off = np.abs(np.degrees(np.arcsin(np.clip(unit @ axes[:, 0], -1, 1))))
        keep = off < max(OFF_PLANE, SPREADS * 1.4826 * float(np.median(off)))
    return keep


def stained(pixels: NDArray[np.uint8], background: Background) -> NDArray[np.float32]:
    """Return the optical densities (m, 3) of `stained_pixels`; raises `StainError` as that does."""
    return to_od(stained_pixels(pixels, background), background)


def as_he(vectors: NDArray[np.float64], od: NDArray[np.float32], background: Background) -> StainMatrix:
    """Name two fitted vectors haematoxylin and eosin, and measure their strength.

    Haematoxylin is the vector with the greater red part: blue dye takes away red, pink dye lets it pass.

    Raises
    ------
    StainError
        When there is only one stain.
    """
    _refuse_single(od)
    vectors = np.clip(vectors, 0, None)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = unit[np.argsort(-unit[:, 0])]
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
