"""Coverslip at the peers' tasks, run as they are: one process a task.

What Coverslip imports at first use only is imported before, as the peers import theirs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import numpy as np
from common import TILE, run


def _tiles(slide, wanted):
    from coverslip.tiles import GridSpec, Tiles

    corners = np.load(wanted.coords)
    count, downsample = len(corners), wanted.mpp / slide.require_mpp()
    place = np.floor_divide(corners, TILE * downsample).astype(np.int32)
    return Tiles(
        xy=corners.astype(np.int32), spec=GridSpec(mpp=wanted.mpp, size=TILE), mpp=wanted.mpp,
        downsample=downsample, tissue=np.ones(count, np.float32), columns=place[:, 0], rows=place[:, 1],
    )  # fmt: skip


def tissue(wanted):
    """Find tissue and lay the grid."""
    import imagecodecs  # noqa: F401
    import shapely  # noqa: F401
    import tifffile  # noqa: F401

    from coverslip import open_slide
    from coverslip.tiles import GridSpec, lay
    from coverslip.tissue import find_tissue

    def work():
        with open_slide(wanted.slide) as slide:
            return len(lay(slide, GridSpec(mpp=wanted.mpp, size=TILE), find_tissue(slide)))

    return work, "tiles"


def read(wanted):
    """Stream the tiles at the corners given."""
    import coverslip.tiles.kernels  # noqa: F401 - compiled
    from coverslip import open_slide
    from coverslip.tiles import stream

    slide = open_slide(wanted.slide)
    tiles = _tiles(slide, wanted)
    return lambda: sum(len(batch.pixels) for batch in stream(slide, tiles, threads=wanted.workers)), "tiles"


def embed(wanted):
    """Tissue, grid, features, file: what the embed recipe does; the back end as ``name:precision``.

    The network is made ready before, as the peers' are.
    """
    from coverslip import open_slide
    from coverslip.models import load_encoder
    from coverslip.models.encoder import Runtime
    from coverslip.pipeline.stages.embed import encoded
    from coverslip.tiles import GridSpec, lay, stream
    from coverslip.tissue import find_tissue

    backend, precision = wanted.backend.split(":")
    runtime = Runtime(backend=backend, precision=precision)
    encoder = load_encoder(wanted.architecture, weights=str(wanted.weights), runtime=runtime)
    encoder.encode(np.zeros((1, runtime.size, runtime.size, 3), np.uint8))

    def work():
        with open_slide(wanted.slide) as slide:
            tiles = lay(slide, GridSpec(mpp=wanted.mpp, size=runtime.size), find_tissue(slide))
            batches = encoded(encoder, stream(slide, tiles, batch_size=runtime.batch, threads=1))
            features = np.concatenate([values for _, values in batches])
        np.savez(wanted.out, features=features, coords=tiles.xy)
        return len(features)

    return work, "tiles"


def stain(wanted):
    """Macenko with the slide's matrix, fitted on a sample of the tiles within the time.

    The compiled loop is loaded before, as the peers' imports are.
    """
    from coverslip.stain import Normaliser, fit_macenko, load_target

    tiles, target = np.load(wanted.coords), load_target("cmu-1")
    Normaliser.to_target("macenko", target.fitted("macenko"), target).apply(tiles[0])

    def work():
        source = fit_macenko(tiles[::20, ::4, ::4].reshape(-1, 3))
        change = Normaliser.to_target("macenko", source, target)
        return sum(1 for tile in tiles if change.apply(tile) is not None)

    return work, "tiles"


def stitch(wanted):
    """Tiles of 512 px that overlap by a quarter, four class maps made of their pixels, blended into a map."""
    from coverslip import open_slide
    from coverslip.tiles import Canvas, GridSpec, lay, stream
    from coverslip.tiles.mapfile import MapSpec
    from coverslip.tissue import find_tissue

    def work():
        with open_slide(wanted.slide) as slide:
            tiles = lay(slide, GridSpec(mpp=wanted.mpp, size=512, stride=384, edge="pad"), find_tissue(slide))
            with Canvas(wanted.out / "map.ome.zarr", slide, tiles, MapSpec(("a", "b", "c", "d"))) as canvas:
                for batch in stream(slide, tiles, batch_size=8):
                    pixels = batch.pixels.astype(np.float32).transpose(0, 3, 1, 2) / 255
                    canvas.add(batch.index, np.concatenate([pixels, 1 - pixels[:, :1]], axis=1))
            return slide.size.width * slide.size.height / 1e6

    return work, "Mpx"


if __name__ == "__main__":
    run({"tissue": tissue, "read": read, "embed": embed, "stain": stain, "stitch": stitch})
