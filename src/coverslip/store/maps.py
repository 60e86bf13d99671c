"""Maps that are stitched as results of tiles come, and stay on the disk when they are read."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import StoreError
from coverslip.slides.slide import Slide
from coverslip.tiles import Canvas, MapSpec, Tiles

Result = tuple[NDArray[np.int64], NDArray[Any], NDArray[np.bool_]]
"""Which tiles, their probabilities (n, k, size, size) or labels (n, size, size), and which were not read."""


@dataclass(frozen=True, eq=False)
class MapStream:
    """A map of a slide that grows strip by strip on the disk; an interrupted one goes on where it stopped.

    Attributes
    ----------
    slide, tiles, spec
        As `coverslip.tiles.Canvas` takes them.
    results
        Called with the tiles that are still needed, (m,); yields the results of each of them.
    """

    slide: Slide
    tiles: Tiles
    spec: MapSpec
    results: Callable[[NDArray[np.int64]], Iterator[Result]]

    def collect(self) -> StitchedMap:
        """Stitch in a temporary folder, which goes when the interpreter does."""
        folder = tempfile.TemporaryDirectory(prefix="coverslip-map-")
        atexit.register(folder.cleanup)
        path = Path(folder.name) / "map.ome.zarr"
        self.write(path)
        return StitchedMap.open(path)

    def write(self, path: Path, begun: Callable[[], None] = lambda: None) -> None:
        """Stitch into the folder `path`; `begun` is called once the folder holds an empty map."""
        with Canvas(path, self.slide, self.tiles, self.spec) as canvas:
            begun()
            for index, values, missing in self.results(canvas.todo):
                canvas.add(index, values, missing=missing)


@dataclass(frozen=True, eq=False)
class StitchedMap:
    """A map on the disk: probabilities or labels of every pixel, in several resolutions; read by window.

    Attributes
    ----------
    path
        Its folder, OME-Zarr.
    kind
        ``"probabilities"`` or ``"labels"``.
    classes
        Of the planes, or of labels 1, 2 …; label 0 is "nothing said".
    downsample, mpp
        Level-0 pixels and microns per pixel of the finest level, whose corner is the slide's.
    one
        The stored value that means 1.
    """

    path: Path
    kind: str
    classes: tuple[str, ...]
    downsample: float
    mpp: float
    one: float

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a map that `coverslip.tiles.Canvas` wrote.

        Raises
        ------
        StoreError
            When it is none.
        """
        import zarr

        try:
            said: Any = zarr.open_group(str(path), mode="r", zarr_format=2).attrs["coverslip"]
            numbers = (float(said["downsample"]), float(said["mpp"]), float(said["one"]))
            return cls(path, said["kind"], tuple(said["classes"]), *numbers)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise StoreError(f"{path} is no map: {error}", mend="run its stage anew") from error

    @property
    def size(self) -> Size:
        """Width and height of the finest level."""
        height, width = self._array(0).shape[-2:]
        return Size(width, height)

    def read(self, level: int = 0) -> NDArray[Any]:
        """Return a level: probabilities float32 (k, h, w) from 0 to 1, or labels (h, w)."""
        height, width = self._array(level).shape[-2:]
        return self.window(0, 0, (width, height), level=level)

    def window(self, x: int, y: int, size: tuple[int, int], *, level: int = 0) -> NDArray[Any]:
        """Return what a window holds; beyond the map there is nothing (0).

        Parameters
        ----------
        x, y
            Its upper left pixel, in pixels of the level.
        size
            Width and height.

        Returns
        -------
        Probabilities (k, height, width) float32 from 0 to 1, or labels (height, width) uint8.
        """
        array, (width, height) = self._array(level), size
        left, right = max(x, 0), min(x + width, array.shape[-1])
        top, bottom = max(y, 0), min(y + height, array.shape[-2])
        labels = self.kind == "labels"
        lead = () if labels else (len(self.classes),)
        found = np.zeros((*lead, height, width), np.uint8 if labels else np.float32)
        if left < right and top < bottom:
            values = np.asarray(array[..., top:bottom, left:right])
            part = values if labels else values.astype(np.float32) / np.float32(self.one)
            found[..., top - y : bottom - y, left - x : right - x] = part
        return found

    def _array(self, level: int) -> Any:
        import zarr

        return zarr.open_group(str(self.path), mode="r", zarr_format=2)[str(level)]
