"""Maps of numbers as OME-Zarr: a plane per measurement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coverslip.store.header import NAME, Header
from coverslip.store.kinds.base import finite
from coverslip.store.values import ValueMap

VALUES = "value-map"
"""Root attribute that tells such a map from others."""

CHUNK = 512


def write_values(path: Path, value: ValueMap, header: Header) -> None:
    """Write a map of numbers."""
    import zarr

    group = zarr.create_group(store=path, zarr_format=2)
    planes, height, width = value.values.shape
    array = group.create_array(
        "0",
        shape=value.values.shape,
        dtype="float32",
        chunks=(1, min(CHUNK, max(1, height)), min(CHUNK, max(1, width))),
        fill_value=float("nan"),
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    if planes and height and width:
        array[:] = value.values
    about: dict[str, Any] = {
        NAME: header.to_dict(),
        "multiscales": [_multiscale(value)],
        "omero": {"channels": [_channel(value, i) for i in range(planes)]},
        VALUES: {"downsample": value.downsample, "origin": list(value.origin), "names": list(value.names)},
        "mpp": value.mpp,
    }
    group.attrs.update(about)


def read_values(group: Any, attributes: Mapping[str, Any]) -> ValueMap:
    """Read what `write_values` wrote."""
    about = attributes[VALUES]
    x, y = about["origin"]
    values = np.asarray(group["0"][:])
    return ValueMap(values, about["downsample"], tuple(about["names"]), (x, y), attributes["mpp"])


def _multiscale(value: ValueMap) -> dict[str, object]:
    scale = value.mpp or 1.0
    step = value.downsample * scale
    corner = [value.origin[1] * scale, value.origin[0] * scale]
    unit = {"unit": "micrometer"} if value.mpp else {}
    transforms: list[dict[str, object]] = [
        {"type": "scale", "scale": [1.0, step, step]},
        {"type": "translation", "translation": [0.0, *corner]},
    ]
    space = [{"name": name, "type": "space", **unit} for name in ("y", "x")]
    return {
        "version": "0.4",
        "name": "measurements",
        "axes": [{"name": "c", "type": "channel"}, *space],
        "datasets": [{"path": "0", "coordinateTransformations": transforms}],
    }


def _channel(value: ValueMap, plane: int) -> dict[str, Any]:
    numbers = value.values[plane][np.isfinite(value.values[plane])]
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    window = {"min": low, "max": high, "start": low, "end": high}
    return dict(finite({"label": value.names[plane], "color": "FFFFFF", "active": True, "window": window}))
