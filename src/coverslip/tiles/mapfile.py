"""A map on disk: an OME-Zarr pyramid that is written strip by strip and knows how far it is.

Version 0.4 of OME-Zarr (Zarr format 2) in Blosc: QuPath reads it through Bio-Formats, which does not know
0.5 yet; napari reads both. Chunks that hold nothing are not written and take no space.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size, atomic
from coverslip.core.errors import ExistsError, StoreError, UsageError
from coverslip.core.files import PARTIAL

STATE = "canvas.json"
"""File in the map's folder that says which strips are good."""

BLOCK = Size(512, 256)
"""Pixels of a chunk. Strips are as high as a chunk: low ones, because memory holds whole strips."""

CHUNK_CLASSES = 8
"""Most classes in one chunk."""

SMALLEST = 512
"""Levels are halved until no side is longer."""

COLOURS = ("D62728", "1F77B4", "2CA02C", "FF7F0E", "9467BD", "8C564B", "E377C2", "7F7F7F", "BCBD22", "17BECF")


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map holds.

    Parameters
    ----------
    classes
        Names of the classes. A map of labels holds 1 for the first of them and 0 where nothing was predicted.
    kind
        ``"probabilities"``: a number for each class, (k, h, w); ``"labels"``: one class for each pixel, (h,
        w).
    dtype
        How probabilities are stored: ``"uint8"`` (0 to 255 for 0 to 1), ``"float16"`` or ``"float32"``.
    weight
        How overlapping tiles are blended, a name of `coverslip.tiles.weights.WEIGHTS`. Of labels, the one
        of the larger weight wins.

    Raises
    ------
    UsageError
        When these make no map.
    """

    classes: tuple[str, ...]
    kind: Literal["probabilities", "labels"] = "probabilities"
    dtype: Literal["uint8", "float16", "float32"] = "uint8"
    weight: str = "gaussian"

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UsageError(f"classes {self.classes} name no map: expected one or more different names")
        if self.kind not in ("probabilities", "labels"):
            raise UsageError(f"kind {self.kind!r} is no map: expected 'probabilities' or 'labels'")
        if self.dtype not in ("uint8", "float16", "float32"):
            raise UsageError(f"dtype {self.dtype!r} cannot be stored: expected uint8, float16 or float32")
        if self.kind == "labels" and (self.dtype != "uint8" or len(self.classes) > 255):
            raise UsageError(f"{len(self.classes)} labels as {self.dtype}: expected up to 255, as uint8")

    @property
    def planes(self) -> int:
        """Planes of the map: one per class, or one of labels."""
        return 1 if self.kind == "labels" else len(self.classes)


class Extent(NamedTuple):
    """Size of a map in its pixels, level-0 pixels of the slide per map pixel, and microns per map pixel."""

    size: Size
    downsample: float
    mpp: float


def level_sizes(size: Size) -> list[Size]:
    """Return the sizes of a map's levels, finest first.

    Examples
    --------
    >>> level_sizes(Size(1500, 700))
    [Size(width=1500, height=700), Size(width=750, height=350), Size(width=375, height=175)]
    """
    sizes = [size]
    while max(sizes[-1]) > SMALLEST:
        sizes.append(Size(-(-sizes[-1].width // 2), -(-sizes[-1].height // 2)))
    return sizes


class MapFile:
    """The file of a map: made or opened, written block by block, strips marked as good.

    Parameters
    ----------
    path
        The folder, by custom ``….ome.zarr``.
    fingerprint
        Of everything that makes the map; a file begun with another one is not continued.

    Raises
    ------
    ExistsError
        When a finished map is there.
    StoreError
        When something else is there, or a map begun from other tiles.
    """

    def __init__(self, path: str | Path, spec: MapSpec, extent: Extent, *, fingerprint: str) -> None:
        self.path, self.spec, self.extent = Path(path), spec, extent
        self.sizes = level_sizes(extent.size)
        self.strips = math.ceil(extent.size.height / BLOCK.height)
        self._fingerprint = fingerprint
        self._folders: set[Path] = set()  # with names that may not be on disk yet
        self.closed = self._begun() if self.path.exists() else self._begin()
        self._arrays = self._open()

    # ---------------------------------------------------------------- state
    def _begun(self) -> int:
        state = self.path / STATE
        if not state.is_file():
            if any(self.path.iterdir()):
                raise StoreError(f"{self.path} is there and is no map of ours", mend="choose another name")
            return self._begin()
        try:
            said = json.loads(state.read_text())
            fingerprint, closed = said["fingerprint"], int(said["closed"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{state} cannot be read: {error}", mend=f"remove {self.path}") from error
        if fingerprint != self._fingerprint:
            raise StoreError(
                f"{self.path} was begun from another slide, other tiles or with another specification",
                mend="remove it, or choose another name",
            )
        if closed >= self.strips:
            raise ExistsError(f"{self.path} is finished", mend="remove it to make it anew")
        return closed or self._begin()

    def _begin(self) -> int:
        """Make the file; what an interrupted beginning left of it is made anew."""
        with Writing(self.path):
            self.mark(0)
            for entry in [".zgroup", ".zattrs"]:
                (self.path / entry).unlink(missing_ok=True)
            for number in range(len(self.sizes)):
                shutil.rmtree(self.path / str(number), ignore_errors=True)
            self._create()
            for path in [self.path, *self.path.rglob("*")]:
                sync(path)
        return 0

    def mark(self, closed: int) -> None:
        """Say that the first `closed` strips, and what of the pyramid follows from them, are on disk.

        The names of their chunks are there before it is said: it holds though the power fail a moment later.
        """
        with Writing(self.path):
            while self._folders:
                if (folder := self._folders.pop()).is_dir():  # not where all chunks of a row are empty
                    sync(folder)
        said = {"fingerprint": self._fingerprint, "closed": closed, "strips": self.strips}
        with Writing(self.path), atomic(self.path / STATE) as partial:
            partial.write_text(json.dumps({"type": "coverslip.canvas", "version": 1, **said}))
        self.closed = closed

    # ---------------------------------------------------------------- zarr
    def _create(self) -> None:
        import zarr

        group = zarr.create_group(str(self.path), zarr_format=2)
        for number, size in enumerate(self.sizes):
            chunks: tuple[int, ...] = (BLOCK.height, BLOCK.width)
            shape: tuple[int, ...] = (size.height, size.width)
            if self.spec.kind == "probabilities":
                planes = self.spec.planes
                shape, chunks = (planes, *shape), (min(planes, CHUNK_CLASSES), *chunks)
            group.create_array(
                str(number),
                shape=shape,
                chunks=chunks,
                dtype=self.spec.dtype,
                compressors=_codec(),
                fill_value=0,
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
        group.attrs.update(self._about())

    def _open(self) -> list[Any]:
        import zarr

        group = zarr.open_group(str(self.path), mode="r+", zarr_format=2)
        return [group[str(number)] for number in range(len(self.sizes))]

    def write(self, level: int, column: int, row: int, values: NDArray[Any]) -> None:
        """Write a block (planes, height, width); what reaches over the edge is left out.

        Chunks are compressed and written here: through zarr it takes four times as long. One that holds
        nothing is not there.
        """
        height, width = self.inside(level, column, row)
        values[:, height:], values[:, :, width:] = 0, 0
        step = min(self.spec.planes, CHUNK_CLASSES)
        folder = self.path / str(level)
        with Writing(self.path):
            for first in range(0, self.spec.planes, step):
                name = Path(str(row), str(column))
                if self.spec.kind == "probabilities":
                    name = Path(str(first // step), name)
                store(folder / name, values[first : first + step], step)
                self._folders.update([self.path, *(folder / above for above in name.parents)])

    def read(self, level: int, column: int, row: int) -> NDArray[Any]:
        """Return a block (planes, height, width) as it was written, zero over the edge."""
        stored = np.asarray(self._arrays[level][self._place(level, column, row)])
        whole = np.zeros((self.spec.planes, BLOCK.height, BLOCK.width), self.spec.dtype)
        whole[:, : stored.shape[-2], : stored.shape[-1]] = stored
        return whole

    def inside(self, level: int, column: int, row: int) -> tuple[int, int]:
        """Return how many rows and columns of a block lie on the map."""
        size = self.sizes[level]
        height = min(BLOCK.height, size.height - row * BLOCK.height)
        return height, min(BLOCK.width, size.width - column * BLOCK.width)

    def _place(self, level: int, column: int, row: int) -> tuple[slice, ...]:
        height, width = self.inside(level, column, row)
        y, x = row * BLOCK.height, column * BLOCK.width
        place = (slice(y, y + height), slice(x, x + width))
        return place if self.spec.kind == "labels" else (slice(None), *place)

    def _about(self) -> dict[str, Any]:
        """Return the metadata: OME's, and what only we know."""
        spec, extent = self.spec, self.extent
        about: dict[str, Any] = {
            "multiscales": [_multiscale(spec, extent, len(self.sizes))],
            "coverslip": {
                "kind": spec.kind,
                "classes": list(spec.classes),
                "weight": spec.weight,
                "downsample": extent.downsample,
                "mpp": extent.mpp,
                "one": 255 if spec.dtype == "uint8" and spec.kind == "probabilities" else 1,
            },
        }
        if spec.kind == "labels":
            about["image-label"] = _image_label(spec.classes)
        else:
            about["omero"] = _omero(spec)
        return about


def store(path: Path, values: NDArray[Any], planes: int) -> None:
    """Write a chunk of a map, filled up to `planes`, whole or not at all."""
    if not values.any():
        path.unlink(missing_ok=True)
        return
    missing = planes - len(values)
    full = np.pad(values, ((0, missing), (0, 0), (0, 0))) if missing else np.ascontiguousarray(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{PARTIAL}")
    with partial.open("wb") as file:
        file.write(_codec().encode(full))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def sync(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on disk; not all systems can do the second."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _codec() -> Any:
    """Return the compression of chunks: fast, and known to every reader of Zarr."""
    from numcodecs import Blosc  # type: ignore[import-untyped]

    return Blosc("lz4", 1, Blosc.BITSHUFFLE)


class Writing(AbstractContextManager["Writing"]):
    """Says plainly that the disk is full or refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, StoreError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk is full: {self._path} could not be written further",
                mend="make room and run again; it continues after the last good strip",
            ) from error
        raise StoreError(f"{self._path} cannot be written: {error}", mend="check its folder") from error


def _multiscale(spec: MapSpec, extent: Extent, levels: int) -> dict[str, Any]:
    lead = [] if spec.kind == "labels" else [1.0]
    axes: list[dict[str, str]] = [] if spec.kind == "labels" else [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in ("y", "x")]
    datasets = []
    for number in range(levels):
        step, shift = extent.mpp * 2**number, extent.mpp * (2**number - 1) / 2
        transforms = [
            {"type": "scale", "scale": [*lead, step, step]},
            {"type": "translation", "translation": [*(0.0 for _ in lead), shift, shift]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    method = "mode" if spec.kind == "labels" else "mean"
    return {"version": "0.4", "name": spec.kind, "type": method, "axes": axes, "datasets": datasets}


def _omero(spec: MapSpec) -> dict[str, Any]:
    top = 255 if spec.dtype == "uint8" else 1
    window = {"min": 0, "max": top, "start": 0, "end": top}
    return {
        "name": spec.kind,
        "channels": [
            {"label": name, "color": COLOURS[i % len(COLOURS)], "active": i == 0, "window": window}
            for i, name in enumerate(spec.classes)
        ],
        "rdefs": {"model": "color"},
    }


def _image_label(classes: Sequence[str]) -> dict[str, Any]:
    colours = [bytes.fromhex(COLOURS[i % len(COLOURS)]) for i in range(len(classes))]
    return {
        "version": "0.4",
        "colors": [{"label-value": i + 1, "rgba": [*rgb, 255]} for i, rgb in enumerate(colours)],
        "properties": [{"label-value": i + 1, "class": name} for i, name in enumerate(classes)],
    }
