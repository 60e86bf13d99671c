"""Quality: the summary as JSON, the cells as Parquet beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coverslip.store.header import Header, damaged, read_header
from coverslip.store.kinds.base import Kind, read_json, write_json
from coverslip.store.kinds.table import read_columns, write_columns

if TYPE_CHECKING:
    from coverslip.tissue.quality import Quality


def _write(paths: tuple[Path, ...], value: Quality, header: Header) -> None:
    cells = value.cells
    names = cells.dtype.names if isinstance(cells, np.ndarray) else tuple(cells)
    write_columns(paths[1], {name: np.asarray(cells[name]) for name in names or ()}, header)
    write_json(paths[0], header, {"summary": value.summary})


def _read(paths: tuple[Path, ...], header: Header) -> Quality:
    from coverslip.tissue.quality import Quality

    cells, _ = read_columns(paths[1])
    if read_header(paths[1]).provenance.fingerprint != header.provenance.fingerprint:
        raise damaged(paths[0], f"{paths[1].name} belongs to another assessment")
    return Quality(cells=cells, summary=read_json(paths[0]).get("summary", {}))


QUALITY = Kind("quality", 1, (".json", ".parquet"), _write, _read)
