"""Maps of labels as OME-Zarr: a folder that napari, QuPath and zarr read.

Version 0.4 (Zarr format 2), as `coverslip.tiles.Canvas` writes it, and for the same reason: QuPath reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from coverslip.store.header import NAME, Header, damaged
from coverslip.store.kinds.base import Kind
from coverslip.store.values import LabelMap

CHUNK = 512


def _write(paths: tuple[Path, ...], value: LabelMap, header: Header) -> None:
    import zarr

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


def _read(paths: tuple[Path, ...], _header: Header) -> LabelMap:
    import zarr

    try:
        group = zarr.open_group(paths[0], mode="r", zarr_format=2)
        attributes: dict[str, Any] = dict(group.attrs)
        about, mpp = attributes["map"], attributes["mpp"]
        labels = np.asarray(group["0"][:])  # type: ignore[index]
    except (OSError, KeyError, ValueError) as error:
        raise damaged(paths[0], error) from error
    x, y = about["origin"]
    return LabelMap(labels, about["downsample"], (x, y), tuple(about["names"]), mpp)


MAP = Kind("label-map", 1, (".ome.zarr",), _write, _read)
