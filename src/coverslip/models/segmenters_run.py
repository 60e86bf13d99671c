"""A trained segmenter: tiles in, probabilities of the classes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.segmenters import SegmenterSpec, build_segmenter
from coverslip.models.segmenters_context import Surround

if TYPE_CHECKING:
    from torch import nn

TASK = "segment"
FLIPS = ((), (2,), (3,), (2, 3))
"""Axes of (n, c, h, w) that are mirrored for each view of a tile."""


class Segmenter:
    """Tile → probabilities of the classes of each pixel.

    Parameters
    ----------
    network
        Of `coverslip.models.segmenters.build_segmenter`.
    spec
        What it was built from.
    precision
        ``"f32"``, or ``"bf16"`` for bfloat16 arithmetic.
    device
        ``"cpu"`` or ``"cuda"``.
    threads
        CPU threads.
    flips
        Mean over the tile and its mirror images (test-time augmentation): four times the work.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: SegmenterSpec,
        *,
        precision: Literal["f32", "bf16"] = "f32",
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 2,
        flips: bool = False,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError(
                "this torch sees no CUDA device", mend="use device cpu, or install torch for CUDA"
            )
        self.classes, self.multiple = spec.classes, spec.multiple
        self.surround = None if spec.context == 1 else Surround(spec.context, spec.around)
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._network = network.eval().to(device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device, self._threads = device, threads
        self._views = FLIPS if flips else FLIPS[:1]
        self._mean = 255 * torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)

    @classmethod
    def load(
        cls,
        folder: str | Path | ModelFolder,
        *,
        precision: Literal["f32", "bf16"] = "f32",
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 2,
        flips: bool = False,
    ) -> Self:
        """Load a model folder of ``coverslip train`` with ``task: segment``.

        Raises
        ------
        UsageError
            When it is a model of another task.
        StoreError
            When it is no whole model folder.
        """
        model = folder if isinstance(folder, ModelFolder) else ModelFolder.load(folder)
        spec = spec_of(model.card)
        network = model.into(build_segmenter(spec))
        return cls(
            network,
            spec,
            precision=precision,
            device=device,
            threads=threads,
            flips=flips,
        )

    def probabilities(
        self, tiles: NDArray[np.uint8], views: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float32]:
        """Return (n, k, h, w), sum 1 over the classes, for tiles (n, h, w, 3).

        Parameters
        ----------
        views
            Surroundings of the tiles, (n, h', w', 3), of a network with a `surround`; None takes the tiles
            for all there is, with white around.

        Raises
        ------
        UsageError
            When sides of the tiles are no multiple of `multiple`, or views have another size than tiles ask.
        """
        if tiles.ndim != 4 or any(side % self.multiple for side in tiles.shape[1:3]):
            raise UsageError(
                f"tiles {tiles.shape} cannot be segmented: expected (n, h, w, 3) with sides that are "
                "multiples "
                f"of {self.multiple}"
            )
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                return self._probabilities([self._normal(p) for p in self._inputs(tiles, views)])
        finally:
            torch.set_num_threads(before)

    def _inputs(
        self, tiles: NDArray[np.uint8], views: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.uint8], ...]:
        if self.surround is None:
            return (tiles,)
        if views is None:
            views = np.stack([self.surround.of_picture(tile) for tile in tiles])
        wanted = tuple(self.surround.side(side) for side in tiles.shape[1:3])
        if views.shape[:3] != (len(tiles), *wanted):
            raise UsageError(
                f"views {views.shape} of the surroundings do not belong to tiles {tiles.shape}: expected "
                f"{(len(tiles), *wanted, 3)}"
            )
        return tiles, views

    def _normal(self, tiles: NDArray[np.uint8]) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(tiles)).to(self._device).permute(0, 3, 1, 2).float()
        return ((pixels - self._mean) / self._std).to(self._dtype)

    def _probabilities(self, inputs: list[torch.Tensor]) -> NDArray[np.float32]:
        total = torch.zeros((), device=self._device)
        for axes in self._views:
            flipped = [each.flip(axes).contiguous(memory_format=torch.channels_last) for each in inputs]
            total = total + self._network(*flipped).float().softmax(1).flip(axes)
        found: NDArray[np.float32] = (total / len(self._views)).cpu().numpy()
        return found


def spec_of(card: FolderCard) -> SegmenterSpec:
    """Return what builds the network of a card.

    Raises
    ------
    UsageError
        When the card is of another task.
    """
    card.require_task(TASK)
    return SegmenterSpec(classes=card.classes, architecture=card.architecture, **card.parameters)


def whole(segmenter: Segmenter, pixels: NDArray[np.uint8], *, size: int, margin: int) -> NDArray[np.float32]:
    """Segment a picture of any size by tiles whose outer `margin` is thrown away; (k, h, w).

    Parameters
    ----------
    size
        Side of the kept part of a tile.
    """
    multiple = segmenter.multiple
    height, width = pixels.shape[:2]
    high, wide = (-(-side // size) * size for side in (height, width))
    if max(high, wide) == size:  # one tile does: no larger than the picture needs
        high, wide = (-(-side // multiple) * multiple for side in (height, width))
        padded = np.pad(pixels, ((0, high - height), (0, wide - width), (0, 0)), constant_values=255)
        return segmenter.probabilities(padded[None])[0, :, :height, :width]
    around = ((margin, margin + high - height), (margin, margin + wide - width), (0, 0))
    padded = np.pad(pixels, around, constant_values=255)
    coarse = None if segmenter.surround is None else segmenter.surround.of_picture(padded)
    found: NDArray[np.float32] | None = None
    for y in range(0, high, size):
        for x in range(0, wide, size):
            tile = padded[None, y : y + size + 2 * margin, x : x + size + 2 * margin]
            part = segmenter.probabilities(tile, _view(segmenter.surround, coarse, (x, y), tile.shape))[0]
            if found is None:
                found = np.empty((len(part), high, wide), np.float32)
            found[:, y : y + size, x : x + size] = part[:, margin : margin + size, margin : margin + size]
    result: NDArray[np.float32] = np.empty((0, height, width), np.float32) if found is None else found
    return result[:, :height, :width]


def _view(
    surround: Surround | None, coarse: NDArray[np.uint8] | None, at: tuple[int, int], shape: tuple[int, ...]
) -> NDArray[np.uint8] | None:
    """Cut the view of a tile at `at` out of the coarse picture, which has the surround's edge already."""
    if surround is None or coarse is None:
        return None
    x, y = (place // surround.factor for place in at)
    high, wide = (surround.side(side) for side in shape[1:3])
    return coarse[None, y : y + high, x : x + wide]
