"""The intensity-volume histogram: which share of a region is at least so bright (IBSI 3.5)."""

from __future__ import annotations

import numpy as np

from coverslip.core.errors import UsageError
from coverslip.measure.radiomics.feature import Feature, Values
from coverslip.measure.radiomics.region import Region

BINS = 1000
"""Steps of the intensity axis where the picture does not hold whole numbers."""

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


def intensity_volume_histogram(region: Region, *, step: float | None = None) -> Values:
    """Return the features of a region's intensity-volume histogram.

    Parameters
    ----------
    region
        What is measured.
    step
        Step of the intensity axis. None: 1 for a picture of whole numbers (by its type), else the range in
        `BINS` steps.

    Raises
    ------
    UsageError
        A step that is not positive, or that asks for more than a million steps.
    """
    values = region.values
    low, high = float(values.min()), float(values.max())
    if step is None:
        step = 1.0 if region.whole else (high - low) / BINS
    if not (step > 0 and (high - low) / step < 1e6):
        raise UsageError(
            f"steps of {step} over intensities from {low:g} to {high:g}; expected 1 to a million"
        )
    axis = low + step * np.arange(round((high - low) / step) + 2)
    reach = (values.size - np.searchsorted(np.sort(values), axis)) / values.size
    part = (axis - low) / (high - low)
    volume = [float(reach[part >= x - 1e-12].max(initial=0.0)) for x in (0.1, 0.9)]
    intensity = [float(axis[reach <= x + 1e-12].min(initial=axis[-1])) for x in (0.1, 0.9)]
    numbers = [*volume, *intensity, volume[0] - volume[1], intensity[0] - intensity[1]]
    return {(f.name, ""): v for f, v in zip(IVH, numbers, strict=True)}
