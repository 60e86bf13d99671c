"""Lay a grid of tiles on a slide, in level-0 pixels.

A tile is `size` × `size` pixels at the grid's mpp. Corners are rounded to whole pixels of the level that
the tiles are read from, so that tiles at a level's own mpp are plain copies of stored pixels; neighbours
may therefore overlap or part by less than one pixel of that level when the mpp lies between two levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core import Box, Mpp, as_mpp
from coverslip.core.errors import GeometryError, MppError, UsageError
from coverslip.slides.resample import EXACT
from coverslip.slides.slide import Slide

SNAP = 0.01
"""A wanted mpp that differs from a level's by no more than this share is taken to mean that level."""


class TissueLike(Protocol):
    """What `lay` asks of a tissue mask; `coverslip.tissue.Tissue` is one."""

    def share_in(self, xy: NDArray[np.int32], side: float) -> NDArray[np.float32]:
        """Return for each square of level-0 corner `xy` and side `side` the share of it that is tissue."""
        ...


@dataclass(frozen=True, slots=True)
class GridSpec:
    """How to cut a slide into tiles.

    Parameters
    ----------
    mpp
        Microns per pixel of the tiles; None for the slide's own. Within 1 % of a level's it means that level.
    size
        Pixels of a tile's side.
    stride
        Pixels from one tile to the next; None for `size`, that is no overlap.
    min_tissue
        Least share of a tile that must be tissue, 0 to 1.
    edge
        ``"drop"`` keeps only tiles that lie wholly on the slide; ``"pad"`` covers it to the edge, white
        beyond.

    Raises
    ------
    GeometryError
        For a size, stride or share that cannot be.

    Examples
    --------
    >>> GridSpec(mpp=0.5, size=256, stride=128).step
    128
    """

    mpp: float | None = None
    size: int = 256
    stride: int | None = None
    min_tissue: float = 0.5
    edge: Literal["drop", "pad"] = "drop"

    def __post_init__(self) -> None:
        if self.mpp is not None:
            as_mpp(self.mpp)
        if self.size < 1 or self.step < 1:
            raise GeometryError(
                f"size {self.size} and stride {self.stride} make no grid: expected 1 pixel or more"
            )
        if not 0 <= self.min_tissue <= 1:
            raise GeometryError(f"min_tissue {self.min_tissue} is no share: expected 0 to 1")
        if self.edge not in ("drop", "pad"):
            raise GeometryError(f"edge {self.edge!r} is no rule: expected 'drop' or 'pad'")

    @property
    def step(self) -> int:
        """Tile pixels from one tile to the next."""
        return self.size if self.stride is None else self.stride


@dataclass(frozen=True, eq=False)
class Tiles:
    """Where the tiles of a slide lie; row order is their identity.

    Attributes
    ----------
    xy
        Level-0 corners (x, y), (n, 2) int32.
    spec
        The grid as wanted; `mpp` is what it became.
    mpp
        Microns per pixel of the tiles.
    downsample
        Level-0 pixels per tile pixel, at least 1.
    tissue
        Share of each tile that is tissue, (n,) float32; NaN where no tissue was looked for.
    columns, rows
        Place of each tile in the grid, (n,) int32.
    """

    xy: NDArray[np.int32]
    spec: GridSpec
    mpp: float
    downsample: float
    tissue: NDArray[np.float32]
    columns: NDArray[np.int32]
    rows: NDArray[np.int32]

    def __post_init__(self) -> None:
        count = len(self.xy)
        kinds = {"xy": (np.int32, (count, 2)), "tissue": (np.float32, (count,))}
        kinds |= {"columns": (np.int32, (count,)), "rows": (np.int32, (count,))}
        for name, (dtype, shape) in kinds.items():
            array = np.ascontiguousarray(getattr(self, name), dtype)
            if array.shape != shape:
                raise GeometryError(f"{name} of tiles has shape {array.shape}: expected {shape}")
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.xy)

    def __repr__(self) -> str:
        return f"<Tiles: {len(self)} of {self.spec.size} px at {self.mpp:g} µm per pixel>"

    @property
    def side_px(self) -> float:
        """Side of a tile in level-0 pixels."""
        return self.spec.size * self.downsample

    def box(self, index: int) -> Box:
        """Return what tile `index` covers, in level-0 pixels."""
        x, y = self.xy[index].tolist()
        return Box(x, y, self.side_px, self.side_px)

    def take(self, index: ArrayLike) -> Tiles:
        """Return the tiles at `index` (integers or booleans), in that order."""
        chosen: NDArray[Any] = np.asarray(index)
        if chosen.dtype != np.bool_:
            chosen = chosen.astype(np.int64)
        parts = (self.tissue[chosen], self.columns[chosen], self.rows[chosen])
        return Tiles(self.xy[chosen], self.spec, self.mpp, self.downsample, *parts)


class Resolution(NamedTuple):
    """What a wanted mpp became on a slide: `snapped` says that it was moved to a level's own."""

    mpp: Mpp
    downsample: float
    snapped: bool


def settle_mpp(slide: Slide, wanted: float | None) -> Resolution:
    """Return the mpp at which tiles will be read.

    Raises
    ------
    MppError
        When `wanted` is finer than the slide: nothing is enlarged.
    MissingMppError
        When the slide has no mpp.
    """
    own = slide.require_mpp()
    if wanted is None:
        return Resolution(own, 1.0, snapped=False)
    downsample = wanted / own
    nearest = min(slide.levels, key=lambda level: abs(math.log(level.downsample / downsample)))
    if abs(nearest.downsample / downsample - 1) <= SNAP:
        return Resolution(Mpp(own * nearest.downsample), nearest.downsample, snapped=True)
    if downsample < 1:
        raise MppError(
            f"{slide.path} has {own:g} µm per pixel and tiles were wanted at {wanted:g}, which is finer",
            mend=f"ask for {own:g} or more; nothing is enlarged",
        )
    return Resolution(as_mpp(wanted), downsample, snapped=False)


@dataclass(frozen=True, slots=True)
class Lattice:
    """One axis of a grid: where tile `index` starts.

    Parameters
    ----------
    step
        Pixels of the level that is read, from one tile to the next; may be fractional.
    unit
        Level-0 pixels per pixel of that level.

    Examples
    --------
    >>> lattice = Lattice(step=182.9, unit=4.0)
    >>> lattice.corner(np.array([0, 1, 2]))
    array([   0,  732, 1464], dtype=int32)
    >>> lattice.index(np.array([0, 732, 1464]))
    array([0, 1, 2], dtype=int32)
    """

    step: float
    unit: float

    def corner(self, index: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the level-0 position at which tiles `index` start, a whole pixel of the level read."""
        whole = np.floor(np.asarray(index) * self.step + 0.5)
        return np.floor(whole * self.unit + 0.5).astype(np.int32)

    def index(self, corner: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the index of the tiles that start nearest to level-0 positions `corner`."""
        return np.floor(np.asarray(corner) / (self.step * self.unit) + 0.5).astype(np.int32)

    def count(self, extent: int, side: float, edge: str) -> int:
        """Return how many tiles of `side` level pixels go on `extent` of them."""
        slack = extent - side + EXACT
        if edge == "pad":
            covering = 1 + max(0, math.ceil((extent - side - EXACT) / self.step))
            return min(covering, math.ceil(extent / self.step))
        count = 0 if slack < 0 else 1 + math.floor((slack + 0.5) / self.step)
        # rounding to whole pixels may push the last one over the edge
        return count - 1 if count and math.floor((count - 1) * self.step + 0.5) > slack else count


def lay(slide: Slide, spec: GridSpec, tissue: TissueLike | None = None) -> Tiles:
    """Lay a grid on a slide and keep the tiles with enough tissue, in row-major order.

    Parameters
    ----------
    tissue
        Where the tissue is; None keeps every tile.

    Raises
    ------
    MppError
        When the grid's mpp is finer than the slide's.
    MissingMppError
        When the slide has no mpp.
    GeometryError
        When no tile lies wholly on the slide and `spec.edge` is ``"drop"``.
    """
    mpp, downsample, _ = settle_mpp(slide, spec.mpp)
    level = slide.best_level(downsample)
    scale = downsample / level.downsample
    lattice = Lattice(spec.step * scale, level.downsample)
    across = lattice.count(level.width, spec.size * scale, spec.edge)
    down = lattice.count(level.height, spec.size * scale, spec.edge)
    if not across * down:
        raise GeometryError(
            f"{slide.path} has {level.width} × {level.height} pixels at the level that is read, "
            f"less than one tile of {spec.size * scale:g}",
            mend="choose smaller tiles, or edge='pad' to fill up with white",
        )
    rows, columns = np.divmod(np.arange(across * down, dtype=np.int32), np.int32(across))
    corners_x, corners_y = lattice.corner(np.arange(across)), lattice.corner(np.arange(down))
    xy = np.stack([corners_x[columns], corners_y[rows]], axis=1)
    share = _share(xy, spec.size * downsample, tissue)
    tiles = Tiles(xy, spec, mpp, downsample, share, columns, rows)
    return tiles if tissue is None else tiles.take(np.flatnonzero(share >= spec.min_tissue))


def place(slide: Slide, xy: ArrayLike | Sequence[tuple[int, int]], spec: GridSpec) -> Tiles:
    """Make tiles at corners of one's own choice instead of a grid, e.g. to cut out marked places.

    Parameters
    ----------
    xy
        Level-0 corners (n, 2), whole numbers; tiles may reach over the edge, white beyond.

    Raises
    ------
    UsageError
        When `xy` is not (n, 2) whole numbers.
    MppError, MissingMppError
        As for `lay`.
    """
    corners = np.asarray(xy)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.array_equal(corners, np.floor(corners)):
        raise UsageError(f"corners of shape {corners.shape} cannot be placed: expected (n, 2) whole numbers")
    mpp, downsample, _ = settle_mpp(slide, spec.mpp)
    cells = np.floor(corners / (spec.step * downsample)).astype(np.int32)
    share = np.full(len(corners), np.nan, np.float32)
    return Tiles(corners.astype(np.int32), spec, mpp, downsample, share, cells[:, 0], cells[:, 1])


def _share(xy: NDArray[np.int32], side: float, tissue: TissueLike | None) -> NDArray[np.float32]:
    """Return the share of tissue in each tile; NaN where nobody looked."""
    if tissue is None:
        return np.full(len(xy), np.nan, np.float32)
    return np.clip(np.asarray(tissue.share_in(xy, side), np.float32), 0, 1)
