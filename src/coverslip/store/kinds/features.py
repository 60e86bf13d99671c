"""Features as HDF5, laid out as CLAM and TRIDENT do; written whole, or streamed and resumable mid-slide.

HDF5 lays out the file, with both datasets contiguous; rows are then written to their places in it with
plain file calls. So the file is valid HDF5 from its first moment, whatever happens to the writer; room for
all rows is reserved before the first is computed; and a full disk is an ordinary error, where HDF5 itself
can crash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError
from coverslip.store.header import NAME, Header, damaged
from coverslip.store.kinds.base import Kind
from coverslip.store.values import Features, FeatureStream

WRITE_ROWS = 4096
EMPTY = np.iinfo(np.int32).min
"""Stands in `coords` for a row that is not written yet; no slide reaches there."""

_STRUCTURE_BYTES = 1 << 16


def _write(paths: tuple[Path, ...], value: Features, header: Header) -> None:
    about = {name: getattr(value, name) for name in ("encoder", "names", "tile_px", "tile_side", "mpp")}
    shape = (len(value), value.X.shape[1])
    with FeatureFile.create(paths[0], header, about, shape=shape, dtype=str(value.X.dtype)) as file:
        for start in range(0, len(value), WRITE_ROWS):
            part = slice(start, start + WRITE_ROWS)
            file.append(value.X[part], value.coords[part])


def _read(paths: tuple[Path, ...], _header: Header) -> Features:
    import h5py

    try:
        with h5py.File(paths[0], "r") as file:
            names = json.loads(file.attrs["names"]) if "names" in file.attrs else None
            return Features(
                file["features"][:],
                file["coords"][:],
                str(file.attrs["encoder"]),
                names=None if names is None else tuple(names),
                tile_px=int(file.attrs["tile_px"]),
                tile_side=float(file.attrs["tile_side"]),
                mpp=float(file.attrs["mpp"]) if "mpp" in file.attrs else None,
            )
    except (OSError, KeyError) as error:
        raise damaged(paths[0], error) from error


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows lie in a file: shape and dtype of the features, and bytes before each dataset."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    features_at: int
    coords_at: int

    @classmethod
    def of(cls, file: Any) -> Self:
        """Read the layout from an open HDF5 file."""
        features, coords = file["features"], file["coords"]
        offsets = (dataset.id.get_offset() or 0 for dataset in (features, coords))
        return cls(features.shape, features.dtype, *offsets)

    @property
    def end(self) -> int:
        """How long the file is when complete, at least."""
        features = self.shape[0] * self.shape[1] * self.dtype.itemsize
        return max(self.features_at + features, self.coords_at + self.shape[0] * 8)


class FeatureFile:
    """A features file that is filled row by row, and can be taken up again where its writer stopped."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._layout = layout
        self._file = path.open("r+b")
        self._rows = self._written()

    @classmethod
    def create(
        cls, path: Path, header: Header, about: Mapping[str, Any], *, shape: tuple[int, int], dtype: str
    ) -> Self:
        """Lay out a file of `shape` (n, d), reserve its room and mark all rows as not written.

        Raises
        ------
        OSError
            When there is not room enough for all rows.
        """
        fresh = path.with_name(f".{path.name.lstrip('.')}.next")
        try:
            layout = _lay_out(fresh, header, about, shape=shape, dtype=dtype)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        return cls(path, layout)

    @classmethod
    def reopen(cls, path: Path, fingerprint: str) -> Self | None:
        """Take up a file that holds rows of this very result; None when there is none."""
        import h5py

        if not path.exists():
            return None
        try:
            with h5py.File(path, "r") as file:
                header, layout = json.loads(file.attrs[NAME]), Layout.of(file)
        except (OSError, KeyError, ValueError):
            return None  # its writer died while laying it out: there is nothing in it
        same = header["provenance"]["fingerprint"] == fingerprint
        return cls(path, layout) if same and path.stat().st_size >= layout.end else None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns when complete."""
        return self._layout.shape

    def append(self, rows: NDArray[Any], coords: NDArray[Any]) -> None:
        """Add rows; they are in the file when this returns.

        Raises
        ------
        StoreError
            When they do not fit.
        """
        (n, d), stop = self.shape, self._rows + len(rows)
        if rows.shape[1:] != (d,) or coords.shape != (len(rows), 2) or stop > n:
            raise StoreError(
                f"rows {rows.shape} with coords {coords.shape} do not fit after {self._rows} of {n} × {d}"
            )
        self._put(
            self._layout.features_at + self._rows * d * self._layout.dtype.itemsize, rows, self._layout.dtype
        )
        # only now: coords say which rows are there
        self._put(self._layout.coords_at + self._rows * 8, coords, np.dtype("<i4"))
        self._rows = stop

    def _put(self, offset: int, values: NDArray[Any], dtype: np.dtype[Any]) -> None:
        self._file.seek(offset)
        self._file.write(np.ascontiguousarray(values, dtype).data.cast("B") if values.size else b"")
        self._file.flush()

    def _written(self) -> int:
        self._file.seek(self._layout.coords_at)
        x = np.frombuffer(self._file.read(self.shape[0] * 8), "<i4")[::2]
        empty = np.flatnonzero(x == EMPTY)
        return int(empty[0]) if len(empty) else self.shape[0]

    def __len__(self) -> int:
        return self._rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _lay_out(
    path: Path, header: Header, about: Mapping[str, Any], *, shape: tuple[int, int], dtype: str
) -> Layout:
    import h5py

    _reserve(path, _STRUCTURE_BYTES)
    with h5py.File(path, "w") as file:
        file.attrs[NAME] = header.to_json()
        for name, value in about.items():
            if value is not None:
                file.attrs[name] = json.dumps(value) if name == "names" else value
        coords = _dataset(file, "coords", (shape[0], 2), "<i4")
        # the two names that CLAM's and TRIDENT's own readers look for
        coords.attrs["patch_size"] = about["tile_px"]
        coords.attrs["patch_size_level0"] = round(about["tile_side"])
        _dataset(file, "features", shape, np.dtype(dtype).newbyteorder("<").str)
        layout = Layout.of(file)
    _reserve(path, layout.end)
    with path.open("r+b") as raw:
        raw.seek(layout.coords_at)
        raw.write(np.full((shape[0], 2), EMPTY, "<i4").tobytes())
    return layout


def _dataset(file: Any, name: str, shape: tuple[int, int], dtype: str) -> Any:
    """Make a contiguous dataset whose place in the file is fixed now and whose values are written later."""
    from h5py import h5d, h5p, h5s, h5t

    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_layout(h5d.CONTIGUOUS)
    plan.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5d.FILL_TIME_NEVER)
    h5d.create(file.id, name.encode(), h5t.py_create(np.dtype(dtype)), h5s.create_simple(shape), dcpl=plan)
    return file[name]


def _reserve(path: Path, size: int) -> None:
    """Make `path` at least `size` bytes long, with room for all of them on the disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(descriptor, 0, size)
        elif os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def kept_rows(partial: Path, fingerprint: str) -> int:
    """Return how many rows of this very result an interrupted run left in `partial`."""
    file = FeatureFile.reopen(partial, fingerprint)
    if file is None:
        return 0
    with file:
        return len(file)


def write_stream(partial: Path, stream: FeatureStream, header: Header) -> Path:
    """Append a stream to what `partial` holds of it, and return it as the complete file.

    Raises
    ------
    StoreError
        When the stream ends before its `n` rows, or brings more.
    """
    shape = (stream.n, stream.d)
    file = FeatureFile.reopen(partial, header.provenance.fingerprint)
    if file is None or file.shape != shape:
        file = FeatureFile.create(partial, header, stream.about(), shape=shape, dtype=stream.dtype)
    with file:
        for batch, coords in stream.batches:
            file.append(batch, coords)
        if len(file) != stream.n:
            raise StoreError(f"the stream of {stream.encoder} ended after {len(file)} of {stream.n} rows")
    return partial


FEATURES = Kind("features", 1, (".h5",), _write, _read, write_stream, kept_rows)
