"""A trained segmenter: tiles in, probabilities of the classes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.segmenters import SegmenterSpec, build_segmenter

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
        In evaluation mode; normalised pictures (n, 3, h, w) to scores (n, k, h, w).
    classes
        Names of the outputs.
    multiple
        What sides of tiles must be a multiple of.
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
        classes: tuple[str, ...],
        *,
        multiple: int = 32,
        precision: Literal["f32", "bf16"] = "f32",
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 2,
        flips: bool = False,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError(
                "this torch sees no CUDA device", mend="use device cpu, or install torch for CUDA"
            )
        self.classes, self.multiple = classes, multiple
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
            spec.classes,
            multiple=spec.multiple,
            precision=precision,
            device=device,
            threads=threads,
            flips=flips,
        )

    def probabilities(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, k, h, w), sum 1 over the classes, for tiles (n, h, w, 3).

        Raises
        ------
        UsageError
            When sides of the tiles are no multiple of `multiple`.
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
                return self._probabilities(torch.from_numpy(np.ascontiguousarray(tiles)))
        finally:
            torch.set_num_threads(before)

    def _probabilities(self, tiles: torch.Tensor) -> NDArray[np.float32]:
        pixels = tiles.to(self._device).permute(0, 3, 1, 2).float()
        normal = ((pixels - self._mean) / self._std).to(self._dtype)
        total = torch.zeros((), device=self._device)
        for axes in self._views:
            view = normal.flip(axes).contiguous(memory_format=torch.channels_last)
            total = total + self._network(view).float().softmax(1).flip(axes)
        found: NDArray[np.float32] = (total / len(self._views)).cpu().numpy()
        return found


def spec_of(card: FolderCard) -> SegmenterSpec:
    """Return what builds the network of a card.

    Raises
    ------
    UsageError
        When the card is of another task.
    """
    if card.task != TASK:
        raise UsageError(f"model {card.id} is for {card.task!r}, not for {TASK!r}")
    return SegmenterSpec(classes=card.classes, architecture=card.architecture, **card.parameters)


def whole(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    *,
    size: int,
    margin: int,
    multiple: int = 32,
) -> NDArray[np.float32]:
    """Segment a picture of any size by tiles whose outer `margin` is thrown away; (k, h, w).

    Parameters
    ----------
    predict
        `Segmenter.probabilities`.
    size
        Side of the kept part of a tile.
    """
    height, width = pixels.shape[:2]
    high, wide = (-(-side // size) * size for side in (height, width))
    if max(high, wide) == size:  # one tile does: no larger than the picture needs
        high, wide = (-(-side // multiple) * multiple for side in (height, width))
        padded = np.pad(pixels, ((0, high - height), (0, wide - width), (0, 0)), constant_values=255)
        return predict(padded[None])[0, :, :height, :width]
    around = ((margin, margin + high - height), (margin, margin + wide - width), (0, 0))
    padded = np.pad(pixels, around, constant_values=255)
    found: NDArray[np.float32] | None = None
    for y in range(0, high, size):
        for x in range(0, wide, size):
            part = predict(padded[None, y : y + size + 2 * margin, x : x + size + 2 * margin])[0]
            if found is None:
                found = np.empty((len(part), high, wide), np.float32)
            found[:, y : y + size, x : x + size] = part[:, margin : margin + size, margin : margin + size]
    result: NDArray[np.float32] = np.empty((0, height, width), np.float32) if found is None else found
    return result[:, :height, :width]
