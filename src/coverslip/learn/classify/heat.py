"""What a classifier said of a slide's tiles, as a table and as a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.slides import Slide
from coverslip.store import MapStream, Prediction
from coverslip.tiles import GridSpec, MapSpec, Tiles

CELL = 16
"""Map pixels along the side of a tile, at most: a tile has one value, so more would say nothing more."""

BATCH = 256


def coarse(tiles: Tiles) -> Tiles:
    """Return the same tiles with fewer pixels, at the mpp of the map.

    Of overlapping tiles the stride stays a whole number of pixels.
    """
    size, step = tiles.spec.size, tiles.spec.step
    factor = max(
        f for f in range(1, size + 1) if not size % f and not step % f and (size // f >= CELL or f == 1)
    )
    spec = GridSpec(
        mpp=tiles.mpp * factor,
        size=size // factor,
        stride=step // factor,
        min_tissue=tiles.spec.min_tissue,
        edge=tiles.spec.edge,
    )
    places = (tiles.tissue, tiles.columns, tiles.rows)
    return Tiles(tiles.xy, spec, tiles.mpp * factor, tiles.downsample * factor, *places)


def heat_map(slide: Slide, tiles: Tiles, chances: NDArray[np.float32], classes: Sequence[str]) -> MapStream:
    """Return the map of probabilities (n, k), to be stitched where it will lie; NaN leaves no trace."""
    small = coarse(tiles)

    def results(
        todo: NDArray[np.int64],
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], NDArray[np.bool_]]]:
        for start in range(0, len(todo), BATCH):
            rows = todo[start : start + BATCH]
            missing = ~np.isfinite(chances[rows]).all(axis=1)
            values = np.nan_to_num(chances[rows])[:, :, None, None]
            side = small.spec.size
            yield rows, np.broadcast_to(values, (*values.shape[:2], side, side)).copy(), missing

    return MapStream(slide, small, MapSpec(tuple(classes), weight="uniform"), results)


def tile_table(
    tiles: Tiles, chances: NDArray[np.float32], classes: Sequence[str], slide: NDArray[np.float64]
) -> Prediction:
    """Return a row per tile: ``label`` (-1 unread), ``probability_<class>``; notes: of the slide."""
    known = np.isfinite(chances).all(axis=1)
    label = np.where(known, np.nan_to_num(chances).argmax(axis=1), -1).astype(np.int32)
    columns: dict[str, NDArray[Any]] = {
        "tile": np.arange(len(tiles), dtype=np.int32),
        "label": label,
        **{f"probability_{name}": chances[:, place] for place, name in enumerate(classes)},
    }
    return Prediction(columns, {"names": list(classes), "slide": [float(v) for v in slide]})
