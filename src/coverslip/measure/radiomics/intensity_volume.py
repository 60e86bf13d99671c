"""The intensity-volume histogram: which share of a region is at least so bright (IBSI 3.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.radiomics.discretise import FixedBinNumber, FixedBinSize
from coverslip.measure.radiomics.feature import Feature, Values
from coverslip.measure.radiomics.region import Region

BINS = 1000
"""Steps of the intensity axis where the picture does not hold whole numbers."""

MOST_STEPS = 1_000_000

_V = "share of the region with at least {} of the intensity range"
_I = "lowest intensity that at most {} of the region reach; one step above the highest where more hold that"

IVH = (
    Feature("ivh", "Volume at intensity fraction 10 %", "BC2M", "", _V.format("10 %")),
    Feature("ivh", "Volume at intensity fraction 90 %", "BC2M", "", _V.format("90 %")),
    Feature("ivh", "Intensity at volume fraction 10 %", "GBPN", "intensity", _I.format("10 %")),
    Feature("ivh", "Intensity at volume fraction 90 %", "GBPN", "intensity", _I.format("90 %")),
    Feature(
        "ivh",
        "Volume fraction difference between intensity fractions",
        "DDTU",
        "",
        "volume at intensity fraction 10 % − at 90 %",
    ),
    Feature(
        "ivh",
        "Intensity fraction difference between volume fractions",
        "CNV2",
        "intensity",
        "intensity at volume fraction 10 % − at 90 %",
    ),
)
"""The family ``ivh``."""


def intensity_volume_histogram(
    region: Region, *, discretise: FixedBinNumber | FixedBinSize | None = None
) -> Values:
    """Return the features of a region's intensity-volume histogram.

    Parameters
    ----------
    region
        What is measured. Fractions of intensity are of its limits, if it has any, else of its values.
    discretise
        The intensity axis: bins of a width in the picture's unit (an intensity is that of the bin's middle),
        or a number of bins (an intensity is a bin's number). None: steps of 1 for a picture of whole numbers
        (by its type), else `BINS` bins.

    Raises
    ------
    UsageError
        More than a million steps.
    """
    place, axis = _on_axis(region, discretise)
    reach = np.append(np.bincount(place, minlength=len(axis))[::-1].cumsum()[::-1], 0) / place.size
    part = (axis - axis[0]) / (axis[-1] - axis[0])
    beyond = 2 * axis[-1] - axis[-2]
    volume = [float(reach[:-1][part >= x - 1e-12].max()) for x in (0.1, 0.9)]
    first = [int(np.flatnonzero(reach <= x + 1e-12)[0]) for x in (0.1, 0.9)]
    intensity = [float(np.append(axis, beyond)[k]) for k in first]
    numbers = [*volume, *intensity, volume[0] - volume[1], intensity[0] - intensity[1]]
    return {(f.name, ""): v for f, v in zip(IVH, numbers, strict=True)}


def _on_axis(
    region: Region, how: FixedBinNumber | FixedBinSize | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the bin of each pixel, from 0, and the intensity of each bin."""
    if how is None and not region.whole:
        how = FixedBinNumber(BINS)
    if isinstance(how, FixedBinNumber):
        return how.levels(region) - 1, np.arange(1.0, how.bins + 1)
    values = region.values
    low, high = region.within or (-np.inf, np.inf)
    low = low if np.isfinite(low) else float(values.min())
    high = high if np.isfinite(high) else float(values.max())
    width = 1.0 if how is None else how.width
    if (high - low) / width > MOST_STEPS:
        raise UsageError(f"steps of {width:g} from {low:g} to {high:g}; expected at most {MOST_STEPS}")
    if how is None:
        low = np.ceil(low)
        return (values - low).astype(np.int64), np.arange(low, np.floor(high) + 1)
    low = low if how.lowest is None else how.lowest
    count = max(2, int(np.ceil((high - low) / width)))
    place = np.floor((values - low) / width).astype(np.int64)
    return np.clip(place, 0, count - 1), np.asarray(low + (np.arange(count) + 0.5) * width, np.float64)
