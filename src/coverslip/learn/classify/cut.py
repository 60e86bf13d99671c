"""Which tiles of a slide teach, and what: from its tissue, from the regions drawn on it, or from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import Annotations
from coverslip.core import unknown
from coverslip.core.errors import GeometryError, NoTissueError, UsageError
from coverslip.tiles import GridSpec, Tiles, lay
from coverslip.tissue import Tissue, TissueSpec, find_tissue

if TYPE_CHECKING:
    from coverslip.slides import Slide

COLUMN = "annotations"
"""Column of the cohort's table that holds the files of shapes, relative to the table."""

Codes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CutSpec:
    """How slides are cut into tiles, and which of them teach.

    Parameters
    ----------
    stride
        Pixels from one tile to the next; None for no overlap.
    min_tissue
        Least share of a tile that is tissue.
    learn_from
        ``tissue``: every tile has the slide's class. ``regions``: tiles have the class of the region drawn
        over them, the others teach nothing. ``both``: as ``regions`` on slides with a file of shapes, as
        ``tissue`` on the others.
    min_region
        Least share of a tile that a region covers.
    rename
        Class in the files of shapes → class of the target.
    leave_out
        Classes in the files that teach nothing; any other that is no class is refused.
    outside
        Class of the tissue that nobody drew on, where all there is of the others was drawn.
    most
        Tiles of a slide that teach, at most, of each class; all are judged.
    """

    stride: int | None = None
    min_tissue: float = 0.5
    learn_from: Literal["tissue", "regions", "both"] = "tissue"
    min_region: float = 0.5
    rename: dict[str, str] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    outside: str | None = None
    most: int = 300

    def __post_init__(self) -> None:
        if self.most < 1 or not 0 < self.min_region <= 1 or not 0 <= self.min_tissue <= 1:
            raise UsageError(
                f"most {self.most}, min_region {self.min_region}, min_tissue {self.min_tissue}: "
                "expected 1 or more tiles and shares up to 1"
            )

    def grid(self, size: int, mpp: float) -> GridSpec:
        """Return the grid of tiles."""
        return GridSpec(mpp=mpp, size=size, stride=self.stride, min_tissue=self.min_tissue)

    @property
    def recipe(self) -> dict[str, Any]:
        """Parameters of the stage ``tiles`` that lays the same grid."""
        return {"stride": self.stride, "min_tissue": self.min_tissue, "quality": False}


def laid(slide: Slide, grid: GridSpec) -> tuple[Tissue, Tiles]:
    """Find a slide's tissue and lay the tiles.

    Raises
    ------
    NoTissueError
        When no tile has enough tissue.
    MppError
        When the slide is coarser than the tiles.
    GeometryError
        When it is smaller than a tile.
    """
    tissue = find_tissue(slide, TissueSpec())
    tiles = lay(slide, grid, tissue)
    if not len(tiles):
        raise NoTissueError(
            f"{slide.path}: no tile of {grid.size} px at {tiles.mpp:g} µm per pixel has "
            f"{grid.min_tissue:.0%} tissue",
            mend="take the slide out of the table, or ask for less: tiles: {min_tissue: 0.1}",
        )
    return tissue, tiles


def taught(
    tiles: Tiles, drawn: Annotations | None, spec: CutSpec, *, own: int, classes: Sequence[str]
) -> Codes:
    """Return the class that each tile teaches, (n,); -1 for none.

    Parameters
    ----------
    drawn
        Shapes on the slide, of `read_shapes`; None where there is no file.
    own
        Class of the slide.
    """
    if spec.learn_from == "tissue" or (spec.learn_from == "both" and drawn is None):
        return np.full(len(tiles), own, np.int64)
    codes = np.full(len(tiles), -1, np.int64)
    if drawn is None:
        return codes
    shares = np.stack([covered(tiles, drawn, name) for name in classes])
    if spec.outside is not None:
        codes[shares.sum(axis=0) <= 0] = classes.index(spec.outside)
    best = shares.argmax(axis=0)
    enough = shares.max(axis=0) >= spec.min_region
    codes[enough] = best[enough]
    return codes


def covered(tiles: Tiles, drawn: Annotations, class_name: str) -> NDArray[np.float64]:
    """Return the share of each tile that the regions of a class cover, (n,)."""
    import shapely

    polygons = [p for s in drawn.shapes if s.class_name == class_name for p in s.polygons]
    if not polygons:
        return np.zeros(len(tiles))
    whole = shapely.union_all(polygons)
    x, y = tiles.xy[:, 0].astype(float), tiles.xy[:, 1].astype(float)
    side = tiles.side_px
    boxes = shapely.box(x, y, x + side, y + side)
    shapely.prepare(whole)
    share = np.zeros(len(tiles))
    near = shapely.intersects(boxes, whole)
    share[near] = shapely.area(shapely.intersection(boxes[near], whole)) / side**2
    return share


def read_shapes(file: Path, slide: Slide, spec: CutSpec, classes: Sequence[str]) -> Annotations:
    """Read the shapes on a slide, of the target's classes alone.

    Raises
    ------
    UsageError, GeometryError, UnknownNameError
        When the file is not there or is damaged, shapes cannot be used, or have a class that is none.
    """
    if not file.is_file():
        raise UsageError(f"its annotations {file} are not there", mend="check the path")
    drawn = Annotations.read(file, slide=slide).renamed(spec.rename)
    for name in drawn.classes:
        if name not in classes and name not in spec.leave_out:
            error = unknown("class", name, classes)
            raise UsageError(f"{file}: {error.message}", mend="name it under rename: or leave_out:")
    wanted = drawn.take(class_names=[name for name in drawn.classes if name in classes])
    try:
        return wanted.checked(slide=slide, classes=tuple(classes))
    except GeometryError as error:
        raise GeometryError(f"{file}: {error.message}", mend=error.mend) from error


def some(codes: Codes, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `most` tiles of each class that is taught, drawn at random, in order.

    Examples
    --------
    >>> some(np.array([0, 0, -1, 1]), 1, np.random.default_rng(0)).tolist()
    [1, 3]
    """
    kept = [np.zeros(0, np.int64)]
    for code in np.unique(codes[codes >= 0]):
        rows = np.flatnonzero(codes == code)
        kept.append(rows if len(rows) <= most else rng.choice(rows, most, replace=False))
    return np.sort(np.concatenate(kept))
