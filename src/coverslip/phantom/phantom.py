"""A phantom slide: pixels on demand, and the truth about them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, Size
from coverslip.core.errors import UsageError
from coverslip.phantom import colour
from coverslip.phantom.layout import lay_out
from coverslip.phantom.noise import key_of, uniforms
from coverslip.phantom.nuclei import BLOCK
from coverslip.phantom.paint import Painter
from coverslip.phantom.scene import Rect, Scene
from coverslip.phantom.spec import PhantomSpec
from coverslip.phantom.truth import Truth
from coverslip.slides.reader import paste
from coverslip.slides.resample import resample, span

KEPT = 24
"""Blocks of pixels that a phantom keeps."""

FIELD_BLOCKS = colour.FIELD // BLOCK
"""Blocks across a camera field: glass looks alike in every such many blocks."""

CHUNK = 4096
"""A picture is put together from squares of so many level-0 pixels, so that memory stays bounded."""

WHITE = 255


def make(spec: PhantomSpec | None = None, seed: int = 0) -> Phantom:
    """Make the phantom slide that `spec` and `seed` define; equal arguments give equal pixels anywhere.

    Examples
    --------
    >>> phantom = make(PhantomSpec(width=600, height=400, mpp=1.0), seed=3)
    >>> phantom.render(Box(0, 0, 600, 400), downsample=2).shape
    (200, 300, 3)
    """
    return Phantom(spec or PhantomSpec(), seed)


class Phantom:
    """A synthetic slide whose every pixel follows from a spec and a seed.

    Made by `make`; safe to share between threads.

    Attributes
    ----------
    spec, seed
        What it was made from.
    truth
        What is where; see `Truth`.
    """

    def __init__(self, spec: PhantomSpec, seed: int) -> None:
        self.spec = spec
        self.seed = int(seed)
        self.scene = Scene(spec, self.seed, lay_out(spec, self.seed))
        self.painter = Painter(self.scene)
        self.truth = Truth(self.painter)
        self._blocks: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> Size:
        """Width and height of level 0."""
        return Size(self.spec.width, self.spec.height)

    @cached_property
    def _noise_key(self) -> int:
        return key_of(self.seed, "camera")

    def render(self, box: Box, downsample: float = 1.0) -> NDArray[np.uint8]:
        """Return pixels (h, w, 3): each the mean of the level-0 area that it covers; white outside the slide.

        Raises
        ------
        UsageError
            When `downsample` is below 1.
        """
        if downsample < 1:
            raise UsageError(f"downsample {downsample!r} would enlarge: expected 1 or more")
        size = box.pixels(downsample)
        picture = np.empty((size.height, size.width, 3), np.uint8)
        chunk = max(1, int(CHUNK / downsample))
        for top in range(0, size.height, chunk):
            for left in range(0, size.width, chunk):
                part = Size(min(chunk, size.width - left), min(chunk, size.height - top))
                columns = span(box.x + left * downsample, part.width, downsample)
                rows = span(box.y + top * downsample, part.height, downsample)
                pixels = self._window(columns.first, rows.first, Size(columns.count, rows.count))
                square = resample(pixels, part, downsample, (columns.phase, rows.phase))
                picture[top : top + part.height, left : left + part.width] = square
        return picture

    def _window(self, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        """Return level-0 pixels from whole coordinates."""
        pixels = np.full((size.height, size.width, 3), WHITE, np.uint8)
        right, bottom = min(x + size.width, self.spec.width), min(y + size.height, self.spec.height)
        for row in range(max(y, 0) // BLOCK, -(-max(bottom, 0) // BLOCK)):
            for column in range(max(x, 0) // BLOCK, -(-max(right, 0) // BLOCK)):
                block = self.block(column, row)
                cut = block[: self.spec.height - row * BLOCK, : self.spec.width - column * BLOCK]
                paste(pixels, cut, column * BLOCK - x, row * BLOCK - y)
        return pixels

    def block(self, column: int, row: int) -> NDArray[np.uint8]:
        """Return one block of ``BLOCK × BLOCK`` level-0 pixels; the same array may be returned again."""
        with self._lock:
            if (column, row) in self._blocks:
                self._blocks.move_to_end((column, row))
                return self._blocks[column, row]
        block = self.paint(column, row)
        block.setflags(write=False)
        with self._lock:
            self._blocks[column, row] = block
            while len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
        return block

    def is_glass(self, column: int, row: int) -> bool:
        """Say whether a block shows nothing but glass."""
        return self.painter.is_glass(Rect(column * BLOCK, row * BLOCK, BLOCK, BLOCK))

    def paint(self, column: int, row: int) -> NDArray[np.uint8]:
        """Paint one block anew, see `block`."""
        rect = Rect(column * BLOCK, row * BLOCK, BLOCK, BLOCK)
        glass = colour.light_field(self.spec.illumination, self.spec.glass)
        light = colour.lit(glass, rect.x, rect.y, (BLOCK, BLOCK))
        if self.spec.stain == "fluorescence" or not self.is_glass(column, row):
            light = light * self.painter.light(rect)
        if self.spec.noise > 0:
            light = light + self._noise(column, row)
        return cv2.convertScaleAbs(np.maximum(light, 0, out=light))

    def _noise(self, column: int, row: int) -> NDArray[np.float32]:
        noise = colour.camera_noise(self.spec.noise)
        if self.is_glass(column, row):
            x, y = (column % FIELD_BLOCKS) * 128, (row % FIELD_BLOCKS) * 128
        else:
            u = uniforms(self._noise_key, np.array([column]), np.array([row]), 2)[:, 0]
            x, y = (int(value * colour.NOISE_SIDE) for value in u)
        return noise[y : y + BLOCK, x : x + BLOCK]

    def nuclei_in(self, box: Box) -> NDArray[np.void]:
        """Return the nuclei whose centres lie in a box, as a `coverslip.phantom.NUCLEUS` array."""
        return self.truth.nuclei_in(box)

    def instance_mask(self, box: Box) -> tuple[NDArray[np.int32], NDArray[np.void]]:
        """Return which nucleus each pixel of a box shows.

        Parameters
        ----------
        box
            Of whole level-0 pixels.

        Returns
        -------
        labels
            Array (h, w): 0 for none, else 1 + row of `nuclei`.
        nuclei
            The nuclei that reach into the box, as a `coverslip.phantom.NUCLEUS` array. Where two overlap, the
            darker hides the paler, as it does on the slide.

        Raises
        ------
        UsageError
            When the box lies between pixels.
        """
        if any(value != int(value) for value in (box.x, box.y, box.width, box.height)):
            raise UsageError(f"{box} lies between pixels: expected whole coordinates")
        rect = Rect(int(box.x), int(box.y), int(box.width), int(box.height))
        nuclei = self.painter.nuclei_near(rect, self.scene.sprites.reach)
        labels = np.zeros((rect.height, rect.width), np.int32)
        masks = self.scene.sprites.masks
        for row in np.argsort(self.painter.darkness(nuclei), kind="stable").tolist():
            nucleus = nuclei[row]
            _label(labels, masks[nucleus["sprite"]], row + 1, nucleus["x"] - rect.x, nucleus["y"] - rect.y)
        return labels, nuclei


def _label(labels: NDArray[np.int32], mask: NDArray[Any], number: int, x: float, y: float) -> None:
    """Write `number` where `mask`, its middle at (x, y), is true."""
    half = mask.shape[0] // 2
    left, top = int(np.floor(x)) - half, int(np.floor(y)) - half
    rows = slice(max(top, 0), max(0, min(top + mask.shape[0], labels.shape[0])))
    columns = slice(max(left, 0), max(0, min(left + mask.shape[1], labels.shape[1])))
    place = labels[rows, columns]
    if place.size:
        place[mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]] = number
