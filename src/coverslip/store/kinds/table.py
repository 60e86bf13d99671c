"""Tables as Parquet: predictions, and whatever else has named columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError
from coverslip.store.header import NAME, Header, damaged
from coverslip.store.kinds.arrow import as_numpy
from coverslip.store.kinds.base import Kind, finite
from coverslip.store.values import Prediction, Table

NOTES = "coverslip.notes"


def write_columns(
    path: Path, columns: Mapping[str, NDArray[Any]], header: Header, notes: Mapping[str, Any] | None = None
) -> None:
    """Write named columns and the header as one Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    metadata = {NAME: header.to_json(), NOTES: json.dumps(finite(notes or {}))}
    table = pa.table({name: pa.array(_column(value)) for name, value in columns.items()})
    parquet.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")


def read_columns(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read columns and notes.

    Raises
    ------
    StoreError
        When it is no whole Parquet file.
    """
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    notes = json.loads((table.schema.metadata or {}).get(NOTES.encode(), b"{}"))
    return {name: as_numpy(table[name]) for name in table.column_names}, notes


def _column(value: NDArray[Any]) -> NDArray[Any] | list[Any]:
    array = np.asarray(value)
    if array.ndim != 1:
        raise StoreError(f"a column of shape {array.shape} cannot be stored: expected (n,)")
    return array.tolist() if array.dtype.kind in "UO" else array


def _write(paths: tuple[Path, ...], value: Table | Mapping[str, Any], header: Header) -> None:
    table = value if isinstance(value, Table) else Table({k: np.asarray(v) for k, v in value.items()})
    write_columns(paths[0], table.columns, header, table.notes)


def _read(paths: tuple[Path, ...], _header: Header) -> Table:
    return Table(*read_columns(paths[0]))


def _read_prediction(paths: tuple[Path, ...], _header: Header) -> Prediction:
    return Prediction(*read_columns(paths[0]))


PREDICTIONS = Kind("predictions", 1, (".parquet",), _write, _read_prediction)
TABLE = Kind("table", 1, (".parquet",), _write, _read)
