"""Results that have no type of their own further down the house: features, tables, maps, records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """What an encoder says about each tile of a slide.

    Row ``i`` is tile ``i`` of the slide's tiles. A tile that could not be read has NaN in its whole row.

    Attributes
    ----------
    X
        float16 or float32, shape (n, d).
    coords
        int32, shape (n, 2): the tiles' upper left corners ``(x, y)`` in level-0 pixels.
    encoder
        Name of the encoder.
    names
        One per column, when the columns mean something; else None.
    tile_px
        Side of a tile in pixels as the encoder saw it.
    tile_side
        Side of a tile in level-0 pixels (what CLAM and TRIDENT call ``patch_size_level0``).
    mpp
        Microns per pixel at which the tiles were read, or None.
    """

    X: NDArray[Any]
    coords: NDArray[np.int32]
    encoder: str
    names: tuple[str, ...] | None = None
    tile_px: int = 0
    tile_side: float = 0.0
    mpp: float | None = None

    def __post_init__(self) -> None:
        if self.X.ndim != 2 or self.coords.shape != (len(self.X), 2):
            raise StoreError(
                f"features of shape {self.X.shape} and coords of shape {self.coords.shape} do not belong "
                "together: expected (n, d) and (n, 2)"
            )
        if self.names is not None and len(self.names) != self.X.shape[1]:
            raise StoreError(f"{len(self.names)} names for {self.X.shape[1]} columns of features")

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        return f"<Features {self.encoder}: {len(self)} tiles × {self.X.shape[1]}, {self.X.dtype}>"

    def column(self, name: str) -> NDArray[Any]:
        """Return the column called `name`.

        Raises
        ------
        UnknownNameError
            When there is none; the nearest match is in the message.
        """
        from coverslip.core import unknown

        names = self.names or ()
        if name not in names:
            raise unknown("feature", name, names)
        column: NDArray[Any] = self.X[:, names.index(name)]
        return column

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which tiles could not be read, shape (n,)."""
        return np.isnan(self.X).all(axis=1) if self.X.shape[1] else np.zeros(len(self.X), bool)


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Named columns of equal length, and what else there is to say about them.

    Attributes
    ----------
    columns
        Arrays of shape (n,), by name; a column of text has dtype object or str.
    notes
        Plain values (JSON types): units, class names, parameters found, …
    """

    columns: Mapping[str, NDArray[Any]]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise StoreError(f"columns of unequal length: {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows of {', '.join(self.columns)}>"

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Table):
    """What is said of each tile or region: a table with a column ``label``, or with columns of its own."""

    @property
    def labels(self) -> NDArray[Any]:
        """One per row; -1 where nothing could be said."""
        return self.columns["label"]

    @property
    def names(self) -> tuple[str, ...]:
        """What each label means, from label 0 on."""
        return tuple(self.notes.get("names", ()))

    @property
    def examples(self) -> tuple[tuple[int, ...], ...]:
        """Per label, rows that are typical of it."""
        return tuple(tuple(rows) for rows in self.notes.get("examples", ()))


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One label per pixel over a part of the slide.

    Attributes
    ----------
    labels
        Integers, shape (h, w); 0 is "nothing said".
    downsample
        Level-0 pixels per pixel of the map.
    origin
        ``(x, y)`` of the map's corner in level-0 pixels.
    names
        What each label means; ``names[0]`` belongs to label 1.
    mpp
        Microns per pixel of level 0, or None: makes the map's scale physical.
    """

    labels: NDArray[np.integer[Any]]
    downsample: float
    origin: tuple[float, float] = (0.0, 0.0)
    names: tuple[str, ...] = ()
    mpp: float | None = None


@dataclass(frozen=True, eq=False)
class ValueMap:
    """Numbers in a coarse grid over the slide, e.g. nuclei per mm².

    Attributes
    ----------
    values
        float32, shape (k, h, w); NaN where there is nothing to say.
    downsample
        Level-0 pixels per cell.
    names
        Of the planes, with units.
    origin
        ``(x, y)`` of the map's corner in level-0 pixels.
    mpp
        Microns per pixel of level 0, or None.
    """

    values: NDArray[np.float32]
    downsample: float
    names: tuple[str, ...]
    origin: tuple[float, float] = (0.0, 0.0)
    mpp: float | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or len(self.values) != len(self.names):
            raise StoreError(f"a map {self.values.shape} does not have the planes {', '.join(self.names)}")


@dataclass(frozen=True)
class FeatureStream:
    """Features that come batch by batch and go to the disk as they come.

    Attributes
    ----------
    batches
        Yields ``(X, coords)`` of shapes (b, d) and (b, 2), in tile order, starting after the rows that
        `Resume` said are there.
    d
        Number of columns.
    n
        Number of rows when complete.
    dtype
        ``"float16"`` or ``"float32"``.
    """

    encoder: str
    batches: Iterator[tuple[NDArray[Any], NDArray[Any]]]
    d: int
    n: int
    dtype: str = "float32"
    names: tuple[str, ...] | None = None
    tile_px: int = 0
    tile_side: float = 0.0
    mpp: float | None = None

    def collect(self) -> Features:
        """Run the stream to its end in memory."""
        values = np.empty((self.n, self.d), self.dtype)
        coords = np.empty((self.n, 2), np.int32)
        done = 0
        for rows, corners in self.batches:
            values[done : done + len(rows)], coords[done : done + len(rows)] = rows, corners
            done += len(rows)
        if done != self.n:
            raise StoreError(f"the stream of {self.encoder} ended after {done} of {self.n} rows")
        return Features(values, coords, **self.about())

    def about(self) -> dict[str, Any]:
        """Return what is the same for all rows."""
        return {name: getattr(self, name) for name in ("encoder", "names", "tile_px", "tile_side", "mpp")}


@dataclass(frozen=True)
class Derived:
    """A result made from the same stage's streamed results, once those are complete.

    Attributes
    ----------
    make
        Gets the stage's own finished results by key.
    """

    make: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Resume:
    """How far an earlier, interrupted run came: rows of features, parts of objects, by key.

    A stage that streams takes it from ``inputs["resume"]`` (absent when there is nothing to resume) and
    starts each stream after these.

    Examples
    --------
    >>> Resume({"features/pathomics": 640}).rows("features/pathomics"), Resume().rows("features/uni")
    (640, 0)
    """

    kept: Mapping[str, int] = field(default_factory=dict)

    def rows(self, key: str) -> int:
        """Return how many rows of the features `key` are there already."""
        return self.kept.get(key, 0)

    def parts(self, key: str) -> int:
        """Return how many parts of the objects `key` are there already."""
        return self.kept.get(key, 0)
