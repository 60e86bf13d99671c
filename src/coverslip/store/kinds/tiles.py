"""Tiles as Parquet: a row per tile with its place, its tissue and its quality."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from coverslip.core.errors import GeometryError
from coverslip.store.graded import GradedTiles
from coverslip.store.header import Header, damaged
from coverslip.store.kinds.base import Kind
from coverslip.store.kinds.table import read_columns, write_columns
from coverslip.tiles.grid import GridSpec, Tiles

QUALITY = "quality_"
"""Prefix of the columns that say how a tile fares."""


def _write(paths: tuple[Path, ...], value: Tiles, header: Header) -> None:
    columns = {
        "tile": np.arange(len(value), dtype=np.int32),
        "x": value.xy[:, 0],
        "y": value.xy[:, 1],
        "column": value.columns,
        "row": value.rows,
        "tissue": value.tissue,
    }
    graded = value.quality if isinstance(value, GradedTiles) else {}
    columns |= {QUALITY + name: np.asarray(share, np.float32) for name, share in graded.items()}
    notes = {"spec": asdict(value.spec), "mpp": value.mpp, "downsample": value.downsample}
    notes["side_px"] = value.side_px
    write_columns(paths[0], columns, header, notes)


def _read(paths: tuple[Path, ...], _header: Header) -> GradedTiles:
    columns, notes = read_columns(paths[0])
    try:
        return GradedTiles(
            np.stack([columns["x"], columns["y"]], axis=1),
            GridSpec(**notes["spec"]),
            notes["mpp"],
            notes["downsample"],
            columns["tissue"],
            columns["column"],
            columns["row"],
            quality={k.removeprefix(QUALITY): v for k, v in columns.items() if k.startswith(QUALITY)},
        )
    except (KeyError, TypeError, GeometryError) as error:
        raise damaged(paths[0], error) from error


TILES = Kind("tiles", 1, (".parquet",), _write, _read)
