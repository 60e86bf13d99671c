"""The bed of a tumour: its nests, and the stroma between and around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from coverslip.core.errors import UsageError
from coverslip.pipeline.found import rows_of
from coverslip.pipeline.limits import Limit
from coverslip.pipeline.stage import chosen
from coverslip.slides import Slide
from coverslip.store import ObjectTable


@dataclass(frozen=True)
class BedStage:
    """Join regions that lie near each other into one, with what lies between them.

    The bed is the morphological closing of the regions: what no circle of radius `reach_um` can touch without
    touching a region. It lies within the tissue. Of a tumour's nests it makes the tumour with its stroma.

    Parameters
    ----------
    of
        Name of the step that found the regions.
    regions
        Classes that belong to the bed; none: all.
    reach_um
        Gaps narrower than twice this are closed.
    """

    name: ClassVar[str] = "bed"
    version: ClassVar[int] = 1

    of: str = "pixels"
    regions: tuple[str, ...] = ("nest", "necrosis")
    reach_um: float = 60.0

    def __post_init__(self) -> None:
        if self.reach_um < 0:
            raise UsageError(f"reach_um {self.reach_um!r} cannot be: expected 0 or more")

    def reads(self) -> tuple[str, ...]:
        """Return the keys of regions and tissue."""
        return (f"objects/{self.of}", "tissue")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the bed."""
        return ("objects/bed",)

    def classes(self) -> tuple[str, ...]:
        """Return the one class there is."""
        return ("bed",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Close the gaps."""
        import shapely

        mpp = slide.require_mpp()
        regions = chosen(inputs, f"objects/{self.of}").read()
        kept = regions.polygons[rows_of(Limit("within", self.of, self.regions), regions)]
        reach = self.reach_um / mpp
        closed = shapely.buffer(shapely.union_all(shapely.buffer(kept, reach)), -reach)
        tissue = shapely.union_all(list(chosen(inputs, "tissue").polygons))
        parts = shapely.get_parts(shapely.intersection(closed, tissue))
        shapes = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
        area = np.array([part.area * mpp**2 for part in shapes])
        made = np.array([*shapes, None], object)[:-1]
        return {"objects/bed": ObjectTable(made, classes=("bed",), measurements={"area_um2": area}, mpp=mpp)}
