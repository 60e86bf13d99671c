"""A trained classifier of pictures: tiles, shrunk slides, plain pictures in; probabilities out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models.classifiers import build_classifier
from coverslip.models.folder import FolderCard, ModelFolder

if TYPE_CHECKING:
    import torch

WHITE = 255
VIEWS = 8
"""Turns and mirrors of a square."""

BATCH = 64

AGGREGATION = "votes."
"""Prefix of weights in a model folder that are of its aggregation, not of the network."""

RGB = NDArray[np.uint8]


def fitted(rgb: RGB, side: int) -> RGB:
    """Return a picture, uint8 (h, w, 3), resized to fit a white square: padded, never skewed.

    Examples
    --------
    >>> fitted(np.zeros((2, 4, 3), np.uint8), 4)[:, 0, 0].tolist()
    [255, 0, 0, 255]
    """
    import cv2

    height, width = rgb.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size != (width, height):
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        rgb = np.asarray(cv2.resize(np.ascontiguousarray(rgb), size, interpolation=how), np.uint8)
    if rgb.shape == (side, side, 3):
        return rgb
    square = np.full((side, side, 3), WHITE, np.uint8)
    top, left = (side - rgb.shape[0]) // 2, (side - rgb.shape[1]) // 2
    square[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return square


def symmetry(rgb: RGB, number: int) -> RGB:
    """Return one of the eight turns and mirrors of pictures (…, side, side, 3); 0 leaves them.

    Examples
    --------
    >>> square = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> len({symmetry(square, i).tobytes() for i in range(8)})
    8
    """
    turned = np.rot90(rgb, number % 4, axes=(-3, -2))
    return turned[..., ::-1, :] if number >= 4 else turned


class PictureClassifier:
    """Pictures → probabilities.

    Parameters
    ----------
    network
        Normalised float pictures (n, 3, side, side) → scores (n, k), with its weights.
    card
        Its classes, side, mean and standard deviation; ``preprocessing["views"]`` turns and mirrors are
        averaged.
    device, threads
        Where it runs.
    precision
        ``"bf16"`` for bfloat16 arithmetic.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        card: FolderCard,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 2,
        precision: Literal["f32", "bf16"] = "f32",
    ) -> None:
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("this torch sees no CUDA device", mend="use device cpu")
        self.card, self._device, self._threads = card, device, threads
        self._network = network.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mixed = precision == "bf16"
        mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
        self._mean = torch.from_numpy(255 * mean).view(1, 3, 1, 1).to(device)
        self._std = torch.from_numpy(255 * std).view(1, 3, 1, 1).to(device)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str] | ModelFolder,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 2,
        precision: Literal["f32", "bf16"] = "f32",
    ) -> Self:
        """Load a model folder.

        Raises
        ------
        StoreError, UsageError
            See `coverslip.models.folder.ModelFolder`; and when it is no classifier of pictures.
        """
        model = folder if isinstance(folder, ModelFolder) else ModelFolder.load(folder)
        card = model.card
        if card.task not in {"classify/tiles", "classify/slide"} or card.tile_px is None:
            raise UsageError(
                f"{model.path} is a model for {card.task}, not a classifier of pictures",
                mend="give a model that was trained with method tiles or slide",
            )
        built = build_classifier(card.architecture, len(card.classes), card.parameters)
        network = model.into(built, ignore=AGGREGATION)
        return cls(network, card, device=device, threads=threads, precision=precision)

    @property
    def side(self) -> int:
        """Side in pixels of the pictures that it takes."""
        return int(self.card.tile_px or 0)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns of what it returns."""
        return self.card.classes

    def probabilities(self, pixels: RGB) -> NDArray[np.float32]:
        """Return probabilities (n, k), rows summing to 1, of pictures uint8 (n, h, w, 3).

        Pictures of another size are resized, padded to a square where they are none.
        """
        views = int(self.card.preprocessing.get("views", 1))
        parts = [np.zeros((0, len(self.classes)), np.float32)]
        for batch in self._batches(pixels):
            said = [self._softmax(symmetry(batch, number)) for number in range(VIEWS)[:: VIEWS // views]]
            parts.append(np.mean(said, axis=0, dtype=np.float32))
        return np.concatenate(parts)

    def features(self, pixels: RGB) -> NDArray[np.float32]:
        """Return what the network's head sees of pictures, (n, d)."""
        return np.concatenate([self._run(batch, self._pooled) for batch in self._batches(pixels)])

    def _batches(self, pixels: RGB) -> list[RGB]:
        if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
            raise UsageError(f"pictures are {pixels.dtype} {pixels.shape}: expected uint8 (n, h, w, 3)")
        if pixels.shape[1:3] != (self.side, self.side):
            pixels = np.stack([fitted(picture, self.side) for picture in pixels])
        return [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]

    def _softmax(self, batch: RGB) -> NDArray[np.float32]:
        scores = self._run(batch, self._network)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True), np.float32)

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        from coverslip.models.committee import pooled

        return pooled(self._network, x)

    def _run(self, batch: RGB, forward: object) -> NDArray[np.float32]:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=self._mixed):
                whole = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
                x = (whole.permute(0, 3, 1, 2).float() - self._mean) / self._std
                out: torch.Tensor = forward(x.contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
                return out.float().cpu().numpy()
        finally:
            torch.set_num_threads(before)
