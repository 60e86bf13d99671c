"""Blend overlapping results in blocks: weighted means of probabilities, the weightiest of labels."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.tiles.mapfile import BLOCK, MapSpec
from coverslip.tiles.weights import weights

Job = tuple[int, NDArray[np.float32], tuple[slice, slice], tuple[slice, slice]]
"""Which of the values, the block it goes to, the part of the block, the part of the tile."""


class Blend(Protocol):
    """How results are gathered in a block and what is made of it."""

    planes: int
    """Planes that threads may share out among themselves."""

    def check(self, values: NDArray[Any], count: int) -> NDArray[Any]:
        """Return the results of `count` tiles as an array, or refuse them."""
        ...

    def block(self) -> NDArray[np.float32]:
        """Return memory for a block; it is set to zero before use."""
        ...

    def add(self, values: NDArray[Any], jobs: Sequence[Job], planes: slice) -> None:
        """Do jobs for some of the planes."""
        ...

    def finish(self, block: NDArray[np.float32]) -> NDArray[Any]:
        """Return what is stored (planes, h, w); the block may be overwritten."""
        ...


def blend_of(spec: MapSpec, size: int) -> Blend:
    """Return the way to blend that `spec` asks for, for tiles of `size` pixels."""
    return Labels(spec, size) if spec.kind == "labels" else Probabilities(spec, size)


class Probabilities:
    """Weighted means: a block holds the sum per class, and of the weights in its last plane."""

    def __init__(self, spec: MapSpec, size: int) -> None:
        self._spec, self._size = spec, size
        self._weights = weights(spec.weight, size)
        self._as_stored = self._weights * np.float32(1 / 255)
        self.planes = spec.planes
        self._scratch = threading.local()

    def check(self, values: NDArray[Any], count: int) -> NDArray[Any]:
        """Return the results of `count` tiles as an array, or refuse them."""
        found = np.asarray(values)
        expected = (count, self.planes, self._size, self._size)
        kind = found.dtype == np.uint8 or np.issubdtype(found.dtype, np.floating)
        if found.shape != expected or not kind:
            raise UsageError(
                f"results are {found.dtype} {found.shape}: expected float or uint8 {expected} "
                "(tiles, classes, height, width)"
            )
        return found

    def block(self) -> NDArray[np.float32]:
        """Return memory for a block."""
        return np.empty((self.planes + 1, BLOCK.height, BLOCK.width), np.float32)

    def add(self, values: NDArray[Any], jobs: Sequence[Job], planes: slice) -> None:
        """Add weighted values for some classes, and the weights along with the first."""
        factor = self._as_stored if values.dtype == np.uint8 else self._weights
        weighted, held = self._memory(planes.stop - planes.start), -1
        for i, block, place, part in jobs:
            if i != held:
                np.multiply(values[i, planes], factor, out=weighted, casting="same_kind")
                held = i
            block[planes, *place] += weighted[:, *part]
            if planes.start == 0:
                block[self.planes, *place] += self._weights[part]

    def _memory(self, planes: int) -> NDArray[np.float32]:
        memory: NDArray[np.float32] | None = getattr(self._scratch, "memory", None)
        if memory is None or len(memory) != planes:
            memory = self._scratch.memory = np.empty((planes, self._size, self._size), np.float32)
        return memory

    def finish(self, block: NDArray[np.float32]) -> NDArray[Any]:
        """Divide by the weights; where no tile lay there is 0."""
        total = block[self.planes]
        share = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        means = block[: self.planes]
        if self._spec.dtype == "uint8":
            share *= 255
            np.multiply(means, share, out=means)
            means += np.float32(0.5)
            return np.clip(means, 0, 255, out=means).astype(np.uint8)
        np.multiply(means, share, out=means)
        return means.astype(self._spec.dtype)


class Labels:
    """The label of the largest weight: a block holds label and weight; of equal ones the first stays."""

    def __init__(self, spec: MapSpec, size: int) -> None:
        self._spec, self._size = spec, size
        self._weights = weights(spec.weight, size)
        self.planes = 1

    def check(self, values: NDArray[Any], count: int) -> NDArray[Any]:
        """Return the results of `count` tiles as an array, or refuse them."""
        found = np.asarray(values)
        expected = (count, self._size, self._size)
        if found.shape != expected or found.dtype != np.uint8:
            raise UsageError(f"labels are {found.dtype} {found.shape}: expected uint8 {expected}")
        if found.size and int(found.max()) > len(self._spec.classes):
            raise UsageError(f"label {int(found.max())} has no name: expected 0 to {len(self._spec.classes)}")
        return found

    def block(self) -> NDArray[np.float32]:
        """Return memory for a block."""
        return np.empty((2, BLOCK.height, BLOCK.width), np.float32)

    def add(self, values: NDArray[Any], jobs: Sequence[Job], planes: slice) -> None:
        """Take over labels where they weigh more than what is there."""
        del planes  # there is one
        for i, block, place, part in jobs:
            label, weight = block[0][place], block[1][place]
            wins = self._weights[part] > weight
            np.copyto(label, values[i][part], where=wins)
            np.copyto(weight, self._weights[part], where=wins)

    def finish(self, block: NDArray[np.float32]) -> NDArray[Any]:
        """Return the labels."""
        return block[:1].astype(np.uint8)
