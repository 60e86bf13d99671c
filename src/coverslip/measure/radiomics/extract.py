"""All radiomics features of a region."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numpy.typing import ArrayLike

from coverslip.core.errors import UnknownNameError
from coverslip.measure.radiomics.discretise import Discretise, FixedBinNumber, FixedBinSize, Levels
from coverslip.measure.radiomics.discretise import discretise as _discretise
from coverslip.measure.radiomics.feature import Feature, Values
from coverslip.measure.radiomics.glcm import GLCM, glcm
from coverslip.measure.radiomics.glrlm import GLRLM, glrlm
from coverslip.measure.radiomics.intensity_volume import IVH, intensity_volume_histogram
from coverslip.measure.radiomics.local import LOCAL, local_intensity
from coverslip.measure.radiomics.morphology import MORPHOLOGY, morphology
from coverslip.measure.radiomics.neighbours import DIMENSIONS, check_dimensions
from coverslip.measure.radiomics.ngldm import NGLDM, ngldm
from coverslip.measure.radiomics.ngtdm import NGTDM, ngtdm
from coverslip.measure.radiomics.region import Region
from coverslip.measure.radiomics.statistics import HISTOGRAM, STATISTICS, histogram, statistics
from coverslip.measure.radiomics.zones import GLDZM, GLSZM, gldzm, glszm

FEATURES: tuple[Feature, ...] = (
    *MORPHOLOGY,
    *LOCAL,
    *STATISTICS,
    *HISTOGRAM,
    *IVH,
    *GLCM,
    *GLRLM,
    *GLSZM,
    *GLDZM,
    *NGTDM,
    *NGLDM,
)
"""Every feature, in the order of the manual."""

_OF_INTENSITIES: dict[str, Callable[[Region], Values]] = {
    "morphology": morphology,
    "local": local_intensity,
    "statistics": statistics,
}
_OF_LEVELS: dict[str, Callable[[Levels], Values]] = {"histogram": histogram}
_OF_TEXTURE: dict[str, Callable[..., Values]] = {
    "glcm": glcm,
    "glrlm": glrlm,
    "glszm": glszm,
    "gldzm": gldzm,
    "ngtdm": ngtdm,
    "ngldm": ngldm,
}

FAMILIES = tuple(dict.fromkeys(feature.family for feature in FEATURES))
"""The names of the families, in the order of the manual."""


BINS = FixedBinNumber(32)
"""Grey levels where none are asked for."""


def radiomics(
    image: ArrayLike,
    mask: ArrayLike,
    *,
    spacing: float | Sequence[float],
    families: Sequence[str] | None = None,
    discretise: Discretise = BINS,
    dimensions: Sequence[str] | None = None,
    within: tuple[float, float] | None = None,
) -> dict[tuple[str, str, str], float]:
    """Measure a region as the Image Biomarker Standardisation Initiative defines it.

    Parameters
    ----------
    image
        (h, w) or (d, h, w): one channel, or the amount of one stain.
    mask
        The same shape; what is not 0 is measured.
    spacing
        Side of a pixel in mm: one number, or one per axis in the order of the axes. A slide of 0.5 µm per
        pixel has 0.0005.
    families
        Some of `FAMILIES`. None: all; without morphology for a 2D picture, for which it is not defined.
    discretise
        How intensities become grey levels (histogram and texture).
    dimensions
        Some of "2D", "2.5D" and "3D" for texture. None: all that the picture has.
    within
        Measure only intensities from the first to the second number.

    Returns
    -------
    dict
        (family, feature, aggregation) → value; what is not defined for this region is NaN. The aggregation is
        ``""`` outside the families of texture.

    Raises
    ------
    UsageError
        Arrays, spacing or intensities that cannot be measured; the message says which and why.
    GeometryError
        An empty mask.
    UnknownNameError
        A family that does not exist.

    References
    ----------
    Zwanenburg, Leger, Vallières & Löck, "Image biomarker standardisation initiative: reference manual",
    arXiv:1612.07003; Zwanenburg et al., Radiology 295 (2020) 328-338.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(16).reshape(4, 4)
    >>> found = radiomics(image, image >= 0, spacing=0.0005, families=["statistics", "glcm"])
    >>> found["statistics", "Mean intensity", ""]
    7.5
    >>> round(found["glcm", "Correlation", "2D, slice-merged"], 3)
    0.654
    """
    region = Region.of(image, mask, spacing=spacing, within=within)
    return measure_region(region, families=families, discretise=discretise, dimensions=dimensions)


def measure_region(
    region: Region,
    *,
    families: Sequence[str] | None = None,
    discretise: Discretise = BINS,
    dimensions: Sequence[str] | None = None,
    axis: FixedBinNumber | FixedBinSize | None = None,
) -> dict[tuple[str, str, str], float]:
    """Measure a region that has been made already; see `radiomics`.

    `axis` is that of the intensity-volume histogram; see `intensity_volume_histogram`.
    """
    wanted = _families(families, region)
    where = check_dimensions(dimensions or (("2D",) if region.planar else DIMENSIONS), planar=region.planar)
    levels = None if set(wanted) <= {*_OF_INTENSITIES, "ivh"} else _discretise(region, discretise)
    result = {}
    for family in wanted:
        if family == "ivh":
            values = intensity_volume_histogram(region, discretise=axis)
        else:
            values = _measure(family, region, levels, where)
        result.update({(family, name, group): value for (name, group), value in values.items()})
    return result


def _families(families: Sequence[str] | None, region: Region) -> list[str]:
    if families is None:
        return [name for name in FAMILIES if not (region.planar and name == "morphology")]
    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        raise UnknownNameError(f"no family {', '.join(map(repr, unknown))}; there are {', '.join(FAMILIES)}")
    return [name for name in FAMILIES if name in families]


def _measure(family: str, region: Region, levels: Levels | None, where: Sequence[str]) -> Values:
    if levels is None or family in _OF_INTENSITIES:
        return _OF_INTENSITIES[family](region)
    if family in _OF_LEVELS:
        return _OF_LEVELS[family](levels)
    return _OF_TEXTURE[family](levels, dimensions=where)
