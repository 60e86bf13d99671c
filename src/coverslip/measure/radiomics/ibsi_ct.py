"""The check against the reference values of the initiative's CT phantom, in its configurations A to E.

A computed tomogram of a lung tumour (CC BY-NC 3.0: not for commercial use). These values need what those of
the digital phantom do not: other grids, and intensities that are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.discretise import Discretise, FixedBinNumber, FixedBinSize
from coverslip.measure.radiomics.extract import FAMILIES, measure_region
from coverslip.measure.radiomics.ibsi import REFERENCE, compare, folder_of, read_nifti, read_reference
from coverslip.measure.radiomics.region import Region
from coverslip.measure.radiomics.resample import resample

PHANTOM = "ibsi1_ct_phantom"


@dataclass(frozen=True)
class Configuration:
    """How the phantom is prepared.

    `plane` and `depth` are the sides of a voxel in mm, None its own; `order` is of the interpolation, `axis`
    of the intensity-volume histogram. For the rest see `Region.of` and `measure_region`.
    """

    name: str
    dimensions: tuple[str, ...]
    discretise: Discretise
    plane: float | None = None
    depth: float | None = None
    order: int = 1
    within: tuple[float, float] | None = None
    sigmas: float | None = None
    axis: FixedBinNumber | FixedBinSize | None = None


CONFIGURATIONS = (
    Configuration("A", ("2D", "2.5D"), FixedBinSize(25, -500), within=(-500, 400)),
    Configuration("B", ("2D", "2.5D"), FixedBinNumber(32), plane=2, within=(-500, 400)),
    Configuration(
        "C",
        ("3D",),
        FixedBinSize(25, -1000),
        plane=2,
        depth=2,
        within=(-1000, 400),
        axis=FixedBinSize(2.5, -1000),
    ),
    Configuration("D", ("3D",), FixedBinNumber(32), plane=2, depth=2, sigmas=3),
    Configuration(
        "E",
        ("3D",),
        FixedBinNumber(32),
        plane=2,
        depth=2,
        order=3,
        within=(-1000, 400),
        sigmas=3,
        axis=FixedBinNumber(1000),
    ),
)
"""As table 1 of Zwanenburg et al., Radiology 295 (2020) 328-338, has them."""


def run(data: str | None) -> list[dict[str, Any]]:
    """Measure the CT phantom in each configuration and compare each value with its reference.

    Parameters
    ----------
    data
        Folder that holds ``ibsi1_ct_phantom/`` and ``ibsi1_reference_values.csv``.

    Returns
    -------
    list
        The rows of the bench ``ibsi``, with the configuration before them.
    """
    folder = folder_of(data, PHANTOM)
    image, spacing = read_nifti(folder / PHANTOM / "phantom.nii.gz")
    mask, _ = read_nifti(folder / PHANTOM / "mask.nii.gz")
    rows = []
    for configuration in CONFIGURATIONS:
        ours = _measure(configuration, image, mask, spacing)
        reference = read_reference(folder / REFERENCE, f"config. {configuration.name}")
        rows += [{"configuration": configuration.name, **row} for row in compare(reference, ours)]
    return rows


def _measure(
    how: Configuration, image: NDArray[Any], mask: NDArray[Any], spacing: tuple[float, float, float]
) -> dict[tuple[str, str, str], float]:
    to = (how.depth or spacing[0], how.plane or spacing[1], how.plane or spacing[2])
    image, mask = resample(image, mask, spacing=spacing, to=to, order=how.order)
    units = np.rint(image).astype(np.int32)  # Hounsfield units are whole
    region = Region.of(units, mask, spacing=to, within=how.within, sigmas=how.sigmas)
    return measure_region(
        region, families=FAMILIES, discretise=how.discretise, dimensions=how.dimensions, axis=how.axis
    )
