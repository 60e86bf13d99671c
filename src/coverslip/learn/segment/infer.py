"""A segmenter over the tiles of a slide: each tile is read with a margin, which is thrown away afterwards.

A pixel's result depends on its surroundings as far as the network sees. Near a tile's edge these are
missing, so results there differ from those of one pass over the whole. With a margin wide enough what is
kept does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import GeometryError
from coverslip.models.segmenters_context import Surround
from coverslip.models.segmenters_run import Segmenter
from coverslip.slides import Slide
from coverslip.tiles import Batch, GridSpec, Tiles, place, stream


@dataclass(frozen=True, eq=False)
class Part:
    """Results of some tiles.

    Attributes
    ----------
    index
        Which tiles, (n,).
    probabilities
        (n, k, size, size) float32.
    missing
        Tiles of which they, or their surroundings, could not be read, (n,).
    errors
        Why.
    """

    index: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    missing: NDArray[np.bool_]
    errors: tuple[str, ...] = ()


def segmented(
    segmenter: Segmenter, slide: Slide, tiles: Tiles, *, margin: int, batch: int = 1, threads: int = 1
) -> Iterator[Part]:
    """Yield the results of tiles, in their order.

    Parameters
    ----------
    margin
        Pixels read around each tile and thrown away.
    batch
        Tiles that go through the network at once. On a CPU one by one is fastest: more do not fit its cache.

    Raises
    ------
    GeometryError
        When tile, step or margin do not fit the network, whose coarsest features cover squares of
        `Segmenter.multiple` pixels: every tile must lie alike on them, or results depend on the tile.
    """
    check_grid(tiles.spec, margin, segmenter.multiple)
    wide = widened(slide, tiles, margin)
    size = tiles.spec.size
    kept = slice(margin, margin + size)
    options = {"batch_size": batch, "threads": threads}
    views: Iterator[Batch | None] = repeat(None)
    if segmenter.surround is not None:
        views = iter(stream(slide, viewed(slide, wide, segmenter.surround), **options))
    for found, view in zip(stream(slide, wide, **options), views, strict=False):
        whole = segmenter.probabilities(found.pixels, None if view is None else view.pixels)
        missing, errors = found.missing, found.errors
        if view is not None:  # without its surroundings a tile is not what was learned
            missing, errors = missing | view.missing, (*errors, *view.errors)
        yield Part(found.index, whole[:, :, kept, kept], missing, errors)


def widened(slide: Slide, tiles: Tiles, margin: int) -> Tiles:
    """Return the tiles with `margin` pixels more on each side.

    Corners stay on whole level-0 pixels; where the margin is none, tiles move by less than half a pixel.
    """
    spec = GridSpec(mpp=tiles.mpp, size=tiles.spec.size + 2 * margin, edge="pad", min_tissue=0)
    corners = np.floor(tiles.xy - margin * tiles.downsample + 0.5).astype(np.int64)
    return place(slide, corners, spec)


def viewed(slide: Slide, tiles: Tiles, surround: Surround) -> Tiles:
    """Return the views of the tiles' surroundings, in the tiles' order."""
    coarse = tiles.downsample * surround.factor
    spec = GridSpec(
        mpp=tiles.mpp * surround.factor, size=surround.side(tiles.spec.size), edge="pad", min_tissue=0
    )
    corners = np.floor(tiles.xy - surround.around * coarse + 0.5).astype(np.int64)
    return place(slide, corners, spec)


def check_grid(spec: GridSpec, margin: int, multiple: int) -> None:
    """Refuse a grid on which the network's coarsest features would lie differently from tile to tile."""
    wrong = [
        f"{name} {value}"
        for name, value in (("size", spec.size), ("stride", spec.step), ("margin", margin))
        if value % multiple
    ]
    if wrong:
        raise GeometryError(
            f"{' and '.join(wrong)} of the tiles: expected multiples of {multiple} for this network",
            mend=f"e.g. --set tiles.size={16 * multiple} --set tiles.stride={12 * multiple}",
        )


def suggested_grid(mpp: float, multiple: int, *, size: int = 768) -> GridSpec:
    """Return the grid that fits a network: tiles of about `size` pixels that overlap by an eighth.

    Tiles are read with a margin of up to 256 pixels, so smaller ones, or more overlap, would judge many
    pixels several times: tiles of 512 that overlap by a quarter take twice as long.

    Examples
    --------
    >>> suggested_grid(1.0, 32)
    GridSpec(mpp=1.0, size=768, stride=672, min_tissue=0.0, edge='pad')
    """
    side = max(multiple, round(size / multiple) * multiple)
    step = max(multiple, int(0.875 * side) // multiple * multiple)
    return GridSpec(mpp=mpp, size=side, stride=step, min_tissue=0.0, edge="pad")
