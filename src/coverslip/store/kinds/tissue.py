"""Tissue as GeoJSON polygons in level-0 pixels, which QuPath opens as annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coverslip.core.errors import GeometryError
from coverslip.store.header import Header, damaged
from coverslip.store.kinds.base import Kind, read_json, write_json

if TYPE_CHECKING:
    from coverslip.tissue.tissue import Tissue


def _write(paths: tuple[Path, ...], value: Tissue, header: Header) -> None:
    write_json(paths[0], header, value.to_geojson())


def _read(paths: tuple[Path, ...], _header: Header) -> Tissue:
    from coverslip.tissue.tissue import Tissue

    try:
        return Tissue.from_geojson(read_json(paths[0]))
    except GeometryError as error:
        raise damaged(paths[0], error.message) from error


TISSUE = Kind("tissue", 1, (".geojson",), _write, _read)
