"""Where objects lie most densely: the hot spot of mitoses, of positive nuclei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.interval import count_interval, share_interval
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.store import ObjectTable, Table

STEPS = 16
"""Places tried per diameter of the circle, in x and in y."""


@dataclass(frozen=True)
class HotSpotStage:
    """Find the circle of a given area in which most objects of the wanted classes lie.

    The rule: circles about all points of a grid, a sixteenth of their diameter apart, are tried; of circles
    with equally many objects that whose objects lie nearest to its middle is taken. A circle may reach over
    the edge of the tissue: its area is what it is. With objects of other classes the table also says which
    share the wanted ones have in the circle.

    Parameters
    ----------
    of
        Name of the step whose objects are counted.
    counted
        Their classes; none: all.
    area_mm2
        Of the circle.
    """

    name: ClassVar[str] = "hot-spot"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    counted: tuple[str, ...] = ()
    area_mm2: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.area_mm2 < 1000:
            raise UsageError(f"area_mm2 {self.area_mm2!r} cannot be: expected above 0, e.g. 2")

    def reads(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return (f"objects/{self.of}",)

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the circle, and of what was counted in it."""
        return ("objects/hot-spot", "tables/hot-spot")

    def classes(self) -> tuple[str, ...]:
        """Return the one class there is."""
        return ("hot spot",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find the circle; without any object there is none."""
        import shapely

        mpp = slide.require_mpp()
        objects = chosen(inputs, f"objects/{self.of}")
        codes, xy = np.asarray(objects.codes), np.asarray(objects.xy, np.float64).reshape(-1, 2)
        names = self.counted or tuple(objects.classes)
        wanted = np.isin(codes, [i for i, name in enumerate(objects.classes) if name in names])
        wanted |= not self.counted
        radius = float(np.sqrt(self.area_mm2 * 1e6 / np.pi) / mpp)
        places = [densest(xy[wanted], radius)] if wanted.any() else []
        circles = [shapely.Point(*place).buffer(radius, quad_segs=32) for place in places]
        made = ObjectTable(np.array([*circles, None], object)[:-1], classes=("hot spot",), mpp=mpp)
        notes = [] if places else [f"{self.of} holds no {' or '.join(names)}, so there is no hot spot"]
        return {
            "objects/hot-spot": made,
            "tables/hot-spot": self._table(xy, wanted, places, radius),
            NOTES: notes,
        }

    def _table(self, xy: NDArray[Any], wanted: NDArray[np.bool_], places: list[Any], radius: float) -> Table:
        columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
        for place in places:
            inside = np.hypot(*(xy - place).T) <= radius
            count, among = int((inside & wanted).sum()), int(inside.sum())
            dense, part = count_interval(count, self.area_mm2), share_interval(count, among)
            row = [*place, self.area_mm2, count, among, dense.value, dense.low, dense.high]
            row += [part.value, part.low, part.high]
            for name, value in zip(COLUMNS, row, strict=True):
                columns[name].append(float(value))
        return Table({name: np.asarray(values) for name, values in columns.items()}, {"of": self.of})


COLUMNS = (
    "x",
    "y",
    "area_mm2",
    "count",
    "among",
    "per_mm2",
    "per_mm2_low",
    "per_mm2_high",
    "part",
    "part_low",
    "part_high",
)


def densest(xy: NDArray[np.float64], radius: float) -> tuple[float, float]:
    """Return the middle of the circle that holds most of the points (n, 2), n at least 1.

    Examples
    --------
    >>> densest(np.array([[0.0, 0.0], [100.0, 100.0], [104.0, 100.0], [100.0, 104.0]]), 16)
    (102.0, 102.0)
    """
    from scipy.spatial import cKDTree

    step = 2 * radius / STEPS
    low, high = xy.min(axis=0), xy.max(axis=0)
    counts = np.maximum(1, np.ceil((high - low) / step).astype(int) + 1)
    grid = np.stack(np.meshgrid(*(low[i] + step * np.arange(counts[i]) for i in (0, 1))), -1).reshape(-1, 2)
    tree = cKDTree(xy)
    inside = tree.query_ball_point(grid, radius, return_length=True)
    best = grid[inside == inside.max()]
    spread = [np.square(xy[tree.query_ball_point(place, radius)] - place).sum() for place in best]
    x, y = best[int(np.argmin(spread))].tolist()
    return x, y
