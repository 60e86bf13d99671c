"""How much stain there is, and of which colour the tile is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.measurement import Measurement
from coverslip.measure.planes import STEP, Planes

_RJ = "Ruifrok & Johnston 2001"


def _of_stain(stain: str, what: str) -> tuple[Measurement, ...]:
    over = f"over the tissue of the tile, {what}; 0 without tissue"
    return (
        Measurement(f"{stain}_mean", "decades", f"mean {over}", _RJ),
        Measurement(f"{stain}_sd", "decades", f"standard deviation {over}", _RJ),
        Measurement(f"{stain}_p10", "decades", f"10th percentile {over}", _RJ),
        Measurement(f"{stain}_p50", "decades", f"median {over}", _RJ),
        Measurement(f"{stain}_p90", "decades", f"90th percentile {over}", _RJ),
        Measurement(f"{stain}_skewness", "", f"skewness {over}", _RJ),
        Measurement(f"{stain}_weak_share", "share", f"pixels over a quarter of the slide's strength {over}"),
        Measurement(f"{stain}_strong_share", "share", f"pixels over three quarters of that strength {over}"),
        Measurement(f"{stain}_entropy", "", f"entropy in bits of the 0.01-decade histogram {over}"),
    )


MEASUREMENTS = (
    Measurement("tissue_share", "share", "pixels of a grey density over 0.05 decades"),
    *_of_stain("haematoxylin", "amount of haematoxylin"),
    *_of_stain("eosin", "amount of eosin (of the second stain)"),
    Measurement("residual_mean", "decades", "mean of what the two stains do not explain, over the tissue"),
    Measurement("residual_sd", "decades", "standard deviation of the same"),
    Measurement(
        "haematoxylin_eosin_ratio", "", "mean haematoxylin over the sum of both means; 0 without stain"
    ),
)

COLOUR = (
    Measurement("lightness_mean", "", "mean CIELAB lightness, 0 … 100, of the whole tile", "CIE 1976"),
    Measurement("lightness_sd", "", "its standard deviation", "CIE 1976"),
    Measurement("a_mean", "", "mean CIELAB a (green to red)", "CIE 1976"),
    Measurement("a_sd", "", "its standard deviation", "CIE 1976"),
    Measurement("b_mean", "", "mean CIELAB b (blue to yellow)", "CIE 1976"),
    Measurement("b_sd", "", "its standard deviation", "CIE 1976"),
    Measurement("saturation_mean", "share", "mean HSV saturation", "Smith 1978"),
    Measurement("saturation_sd", "share", "its standard deviation", "Smith 1978"),
)


def measure(planes: Planes) -> list[float]:
    """Return the values of `MEASUREMENTS`."""
    first = _stain(histogram(planes.haematoxylin8, planes.tissue), planes.strength[0])
    second = _stain(histogram(planes.second8, planes.tissue), planes.strength[1])
    total = first[0] + second[0]
    ratio = first[0] / total if total > 0 else 0.0
    return [planes.tissue_share, *first, *second, *_mean_sd(planes.residual, planes.tissue), ratio]


def measure_colour(planes: Planes) -> list[float]:
    """Return the values of `COLOUR`, from every other pixel of every other row."""
    import cv2

    some = np.ascontiguousarray(planes.rgb[::2, ::2])
    mean, sd = cv2.meanStdDev(cv2.cvtColor(some, cv2.COLOR_RGB2LAB))
    (light, a, b), (light_sd, a_sd, b_sd) = mean[:, 0], sd[:, 0]
    percent = 100 / 255
    saturation = cv2.meanStdDev(cv2.cvtColor(some, cv2.COLOR_RGB2HSV))
    lab = [light * percent, light_sd * percent, a - 128, a_sd, b - 128, b_sd]
    return [*map(float, lab), float(saturation[0][1, 0]) / 255, float(saturation[1][1, 0]) / 255]


def _mean_sd(plane: NDArray[np.float32], mask: NDArray[np.uint8]) -> list[float]:
    import cv2

    mean, sd = cv2.meanStdDev(plane, mask=mask)
    return [float(mean[0, 0]), float(sd[0, 0])]


def _stain(counts: NDArray[np.float64], strength: float) -> list[float]:
    """Return mean, spread, percentiles, skewness, shares over parts of the strength, and entropy."""
    total = float(counts.sum())
    if total == 0:
        return [0.0] * 9
    amount = np.arange(256) * STEP
    mean = float(counts @ amount) / total
    off = amount - mean
    sd = float(np.sqrt(counts @ off**2 / total))
    percentiles = np.interp(np.array([0.1, 0.5, 0.9]) * total, np.cumsum(counts), amount)
    skewness = float(counts @ off**3) / total / sd**3 if sd > STEP else 0.0
    shares = [float(counts[amount > part * strength].sum()) / total for part in (0.25, 0.75)]
    return [mean, sd, *percentiles.tolist(), skewness, *shares, entropy(counts)]


def histogram(levels: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> NDArray[np.float64]:
    """Return how many pixels have each of the 256 levels."""
    import cv2

    return np.asarray(cv2.calcHist([levels], [0], mask, [256], [0, 256]), np.float64).ravel()


def entropy(counts: NDArray[np.float64]) -> float:
    """Return Shannon's entropy in bits of a histogram; 0 of an empty one."""
    filled = counts[counts > 0]
    if filled.size < 2:
        return 0.0
    share = filled / filled.sum()
    return float(-(share @ np.log2(share)))
