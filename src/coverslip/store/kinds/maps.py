"""Maps as OME-Zarr: a folder that napari, QuPath and zarr read.

Stitched maps, of probabilities or labels, are what `coverslip.tiles.Canvas` drew; label maps held in memory
are written here. All are version 0.4 (Zarr format 2), which QuPath reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from coverslip.core.errors import StoreError
from coverslip.store.header import NAME, Header, damaged, read_header
from coverslip.store.kinds.base import Kind
from coverslip.store.kinds.value_maps import VALUES, read_values, write_values
from coverslip.store.maps import MapStream, StitchedMap
from coverslip.store.values import LabelMap, ValueMap
from coverslip.store.writing import remove
from coverslip.tiles.mapfile import STATE

CHUNK = 512


def _write(paths: tuple[Path, ...], value: LabelMap | ValueMap, header: Header) -> None:
    import zarr

    if isinstance(value, ValueMap):
        return write_values(paths[0], value, header)
    group = zarr.create_group(store=paths[0], zarr_format=2)
    chunks = tuple(min(CHUNK, max(1, side)) for side in value.labels.shape)
    array = group.create_array(
        "0",
        shape=value.labels.shape,
        dtype=value.labels.dtype,
        chunks=chunks,
        fill_value=0,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    array[:] = value.labels
    about: dict[str, Any] = {
        NAME: header.to_dict(),
        "multiscales": [_multiscale(value)],
        "image-label": _labels(value),
        "map": {"downsample": value.downsample, "origin": list(value.origin), "names": list(value.names)},
        "mpp": value.mpp,
    }
    group.attrs.update(about)
    return None


def _multiscale(value: LabelMap) -> dict[str, object]:
    step = value.downsample * (value.mpp or 1.0)
    corner = [value.origin[1] * (value.mpp or 1.0), value.origin[0] * (value.mpp or 1.0)]
    unit = {"unit": "micrometer"} if value.mpp else {}
    transforms = [{"type": "scale", "scale": [step, step]}, {"type": "translation", "translation": corner}]
    return {
        "version": "0.4",
        "name": "labels",
        "axes": [{"name": name, "type": "space", **unit} for name in ("y", "x")],
        "datasets": [{"path": "0", "coordinateTransformations": transforms}],
    }


def _labels(value: LabelMap) -> dict[str, object]:
    named = enumerate(value.names, start=1)
    return {"version": "0.4", "properties": [{"label-value": number, "name": name} for number, name in named]}


def _read(paths: tuple[Path, ...], _header: Header) -> LabelMap | StitchedMap | ValueMap:
    import zarr

    try:
        group = zarr.open_group(paths[0], mode="r", zarr_format=2)
        attributes: dict[str, Any] = dict(group.attrs)
        if VALUES in attributes:
            return read_values(group, attributes)
        if "map" not in attributes:
            return StitchedMap.open(paths[0])
        about, mpp = attributes["map"], attributes["mpp"]
        labels = np.asarray(group["0"][:])  # type: ignore[index]
    except (OSError, KeyError, ValueError) as error:
        raise damaged(paths[0], error) from error
    x, y = about["origin"]
    return LabelMap(labels, about["downsample"], (x, y), tuple(about["names"]), mpp)


# ------------------------------------------------------------------ stitched maps
def _write_stream(partial: Path, stream: MapStream, header: Header) -> Path:
    """Stitch, after what an interrupted run left of the same map."""
    kept = _kept(partial, header.provenance.fingerprint)
    if kept is None:
        remove(partial)
    if kept is None or not _finished(partial):
        stream.write(partial, lambda: _mark(partial, header))
    return partial


def _mark(path: Path, header: Header) -> None:
    """Put the header beside what the canvas says of the map."""
    file = path / ".zattrs"
    about = json.loads(file.read_text(encoding="utf-8"))
    about[NAME] = about.get(NAME, {}) | header.to_dict()
    file.write_text(json.dumps(about), encoding="utf-8")


def _kept(path: Path, fingerprint: str) -> int | None:
    """Return how many strips there are of the map with this fingerprint; None of another or none."""
    try:
        if read_header(path).provenance.fingerprint != fingerprint:
            return None
        return int(json.loads((path / STATE).read_text(encoding="utf-8"))["closed"])
    except (StoreError, OSError, ValueError, KeyError):
        return None


def _finished(path: Path) -> bool:
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    return bool(state["closed"] >= state["strips"])


MAP = Kind(
    "label-map",
    1,
    (".ome.zarr",),
    _write,
    _read,
    _write_stream,
    lambda path, fingerprint: _kept(path, fingerprint) or 0,
)
