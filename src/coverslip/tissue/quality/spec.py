"""What counts as fit to read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from coverslip.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class QualitySpec:
    """Thresholds of the quality flags; sizes in microns, so the same spec fits every scanner.

    Attributes
    ----------
    cell_um
        Side of the squares that are judged, about.
    blur_below
        Focus under which a place is out of focus. Focus is the contrast of structures under 1 µm as a share
        of that of structures of 1 to 2.5 µm: 0.6 to 1.3 in focus; 0.5 when blurred by a Gaussian of 1 µm
        standard deviation, 0.4 by 1.5 µm, 0.3 by 2 µm and more.
    blurred_from
        Share of a cell's sixteenths, those without structure left out, that are out of focus, from which it
        is flagged.
    covered_from
        Share of a cell's tissue under pen, fold or bubble from which it is flagged.
    over_stained_od, under_stained_od
        Mean optical density of a cell's tissue above and below which the stain is too strong or too weak.
    saturated_from
        Share of a cell's tissue with pixels clipped to black, or to white where glass is not white, from
        which it is flagged.
    min_tissue
        Cells with a smaller share of tissue are not judged.
    """

    cell_um: float = 64.0
    blur_below: float = 0.40
    blurred_from: float = 0.5
    covered_from: float = 0.3
    over_stained_od: float = 0.7
    under_stained_od: float = 0.07
    saturated_from: float = 0.25
    min_tissue: float = 0.05

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"QualitySpec.{name} is {value!r}; expected a number above 0")
        if self.cell_um < 16:
            raise UsageError(f"cell_um {self.cell_um:g} is too small to judge focus in; expected 16 or more")
