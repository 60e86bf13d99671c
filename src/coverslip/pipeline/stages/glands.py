"""Glands: their lumens, their pattern, and the grade that the patterns of a slide make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, Region
from coverslip.core.errors import UsageError
from coverslip.core.units import as_mpp
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.stain import StainMatrix
from coverslip.stain.density import to_od
from coverslip.store import ObjectTable, Table

PATTERNS = ("pattern 3", "pattern 4", "pattern 5")

MPP = 1.0
"""Microns per pixel at which lumens are looked for."""

RIM_PX = 7
"""Pixels along the outline in which no lumen is looked for: clefts lie there."""

NECK_UM = 24.0
"""Width of a bridge that is cut: glands that touch are outlined as one."""

EMPTY_OD = 0.12
"""Mean optical density under which a pixel of a gland is lumen."""


@dataclass(frozen=True)
class GlandsStage:
    """Measure the lumens of glands, and give each gland its Gleason pattern by a stated rule.

    A gland with one lumen is pattern 3, with several pattern 4 (cribriform), with none pattern 5 (solid).
    A lumen is a part of the gland, outline filled, that lets light through, of at least `smallest_um2`. The
    rule follows the definitions of the ISUP (Epstein 2016) where form alone tells; for slides of people use a
    trained classifier instead (stage ``classify`` on tiles, then ``gleason``).

    Parameters
    ----------
    of
        Name of the step that outlined the glands.
    smallest_um2
        Of a lumen.
    gland_um2
        Glands smaller than this are left out.
    """

    name: ClassVar[str] = "glands"
    version: ClassVar[int] = 2

    of: str = "pixels"
    smallest_um2: float = 50.0
    gland_um2: float = 900.0

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the outlines and of the stains."""
        return (f"objects/{self.of}", "stain")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the glands."""
        return ("objects/glands",)

    def classes(self) -> tuple[str, ...]:
        """Return the patterns."""
        return PATTERNS

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Measure and class the glands."""
        import shapely

        mpp = slide.require_mpp()
        outlines = chosen(inputs, f"objects/{self.of}").read().polygons
        whole = [shapely.Polygon(part.exterior) for each in outlines for part in shapely.get_parts(each)]
        parts = [part for each in whole for part in parted(each, NECK_UM / 2 / mpp)]
        glands = [part for part in parts if part.area * mpp**2 >= self.gland_um2]
        stains = chosen(inputs, "stain").stains
        found = np.array([self._lumens(slide, gland, stains) for gland in glands]).reshape(-1, 2)
        count = found[:, 0]
        labels = np.select([count == 1, count > 1], [0, 1], 2).astype(np.int32)
        area = np.array([gland.area * mpp**2 for gland in glands])
        measured = {"lumens": count, "lumen_share": found[:, 1], "area_um2": area}
        shapes = np.array([*glands, None], object)[:-1]
        made = ObjectTable(shapes, classes=PATTERNS, labels=labels, measurements=measured, mpp=mpp)
        return {"objects/glands": made, NOTES: []}

    def _lumens(self, slide: Slide, gland: Any, stains: StainMatrix) -> tuple[float, float]:
        """Return the number of lumens, and the share of the gland that they take."""
        import cv2

        left, top, right, bottom = (float(v) for v in gland.bounds)
        step = max(MPP, slide.require_mpp())
        rgb = slide.read(Region(Box(left, top, right - left, bottom - top), as_mpp(step)))
        down = step / slide.require_mpp()
        mask: NDArray[Any] = np.zeros(rgb.shape[:2], np.uint8)
        ring = np.rint(((np.asarray(gland.exterior.coords) - (left, top)) / down - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(mask, [ring], 1, shift=4)
        mask = cv2.erode(mask, np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8))
        pale = (to_od(rgb, stains.background).mean(axis=-1) < EMPTY_OD) & (mask > 0)
        opened = cv2.morphologyEx(pale.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
        areas = stats[1:, cv2.CC_STAT_AREA] * step**2
        large = areas[areas >= self.smallest_um2]
        return float(len(large)), float(large.sum() / max(mask.sum() * step**2, 1))


def parted(gland: Any, reach: float) -> list[Any]:
    """Return the parts of a polygon that hang together by bridges narrower than twice `reach`; else itself.

    Examples
    --------
    >>> import shapely
    >>> one, bridge = shapely.box(0, 0, 40, 40), shapely.box(40, 18, 60, 22)
    >>> two = shapely.union_all([one, bridge, shapely.box(60, 0, 99, 40)])
    >>> [round(part.area, -1) for part in parted(two, 4)], len(parted(one, 4))
    ([1600.0, 1560.0], 1)
    """
    import shapely

    cores = shapely.get_parts(shapely.buffer(gland, -reach))
    if len(cores) < 2:
        return [gland]
    grown = shapely.intersection(shapely.buffer(cores, reach, join_style="mitre"), gland)
    return [
        shapely.Polygon(part.exterior) for each in grown for part in shapely.get_parts(each) if part.area > 0
    ]


@dataclass(frozen=True)
class GleasonStage:
    """Compose the Gleason score and grade group of a slide from the patterns of its glands.

    Primary is the pattern of the largest area. Secondary is the highest of the other patterns that make up at
    least `least` of the area; the primary again when there is none. Grade groups: 3+3 is 1, 3+4 is 2, 4+3 is
    3, a sum of 8 is 4, of 9 or 10 is 5 (Epstein 2016, ISUP 2014).

    Parameters
    ----------
    of
        Name of the step that gave glands or regions the classes ``pattern 3``, ``pattern 4``, ``pattern 5``.
    least
        Share of the area that a secondary pattern needs.
    """

    name: ClassVar[str] = "gleason"
    version: ClassVar[int] = 1

    of: str = "glands"
    least: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.least < 0.5:
            raise UsageError(f"least {self.least!r} cannot be: expected 0 to 0.5")

    def reads(self) -> tuple[str, ...]:
        """Return the key of the glands."""
        return (f"objects/{self.of}",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the slide's grade."""
        return ("tables/gleason",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's
        """Compose the grade; without glands it is 0."""
        import shapely

        glands = chosen(inputs, f"objects/{self.of}").read()
        areas, names = shapely.area(glands.polygons), list(glands.classes)
        codes = [names.index(name) if name in names else -2 for name in PATTERNS]
        shares = np.array([areas[glands.codes == code].sum() for code in codes])
        row = {"glands": len(glands)} | grade(shares, self.least)
        notes = [] if len(glands) else [f"{self.of} holds no glands, so there is no grade"]
        return {"tables/gleason": Table({k: np.array([float(v)]) for k, v in row.items()}), NOTES: notes}


def grade(areas: NDArray[np.float64], least: float) -> dict[str, float]:
    """Return the grade of a slide of which patterns 3, 4 and 5 take these areas.

    Examples
    --------
    >>> slides = ([1, 0, 0], [6, 4, 0], [4, 6, 0], [0, 1, 0], [5, 3, 2])
    >>> [grade(np.array(areas), 0.05)["group"] for areas in slides]
    [1, 2, 3, 4, 4]
    """
    total = areas.sum()
    shares = areas / total if total else areas * 0.0
    said = {f"share_{3 + i}": float(share) for i, share in enumerate(shares)}
    if not total:
        return {"primary": 0, "secondary": 0, "score": 0, "group": 0, **said}
    primary = int(shares.argmax())
    others = [i for i in (2, 1, 0) if i != primary and shares[i] >= max(least, 1e-12)]
    secondary = others[0] if others else primary
    one, two = primary + 3, secondary + 3
    group = {6: 1, 7: 2 if one == 3 else 3, 8: 4}.get(one + two, 5)
    return {"primary": one, "secondary": two, "score": one + two, "group": group, **said}
