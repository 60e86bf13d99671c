"""A trained detector: tiles in, boxes, classes, scores and masks out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models.detectors import DetectorSpec, build_detector
from coverslip.models.detectors_light import Sight
from coverslip.models.folder import FolderCard, ModelFolder

if TYPE_CHECKING:
    from torch import nn

TASK = "detect"
Raw = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32] | None]
"""Boxes (n, 4), classes (n,) from 0 on, scores (n,), masks (n, s, s) within the boxes or None."""


class Detector:
    """Tile → its objects.

    Parameters
    ----------
    network
        Of `coverslip.models.detectors.build_detector`.
    classes
        Names of its outputs.
    least_score
        Objects of which the network is less sure are left out.
    sight
        How plain pictures are shown to it; `coverslip.learn.detect.picture` sees to that.
    precision
        ``"f32"``, or ``"bf16"`` for encoder, pyramid and heads in bfloat16.
    device, threads
        Where.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: tuple[str, ...],
        *,
        least_score: float = 0.5,
        sight: Sight | None = None,
        precision: Literal["f32", "bf16"] = "f32",
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 2,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("this torch sees no CUDA device", mend="use device cpu")
        self.classes, self._device, self._threads = classes, device, threads
        self.sight = sight or Sight()
        self._mixed = precision == "bf16"
        network.roi_heads.score_thresh = least_score  # type: ignore[union-attr, assignment]
        self._network: Any = network.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(
        cls,
        folder: str | Path | ModelFolder,
        *,
        least_score: float | None = None,
        precision: Literal["f32", "bf16"] = "f32",
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 2,
    ) -> Self:
        """Load a model folder of ``coverslip train`` with ``task: detect``.

        Parameters
        ----------
        least_score
            None for what did best on the pictures that were validated on.

        Raises
        ------
        UsageError
            When it is a model of another task.
        StoreError
            When it is no whole model folder.
        """
        model = folder if isinstance(folder, ModelFolder) else ModelFolder.load(folder)
        spec = spec_of(model.card)
        known = model.card.preprocessing
        return cls(
            model.into(build_detector(spec)),
            spec.classes,
            least_score=float(known.get("least_score", 0.5)) if least_score is None else least_score,
            sight=Sight(known.get("object_px"), bool(known.get("stretch", False))),
            precision=precision,
            device=device,
            threads=threads,
        )

    def found(self, tiles: NDArray[np.uint8]) -> list[Raw]:
        """Return the objects of each of the tiles (n, h, w, 3)."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        pixels = torch.from_numpy(np.ascontiguousarray(tiles)).to(self._device)
        pictures = list(pixels.permute(0, 3, 1, 2).float().div_(255))
        mixed = torch.autocast(self._device, torch.bfloat16, enabled=self._mixed)
        try:
            with torch.inference_mode(), mixed:
                return [self._raw(each) for each in self._network(pictures)]
        finally:
            torch.set_num_threads(before)

    def _raw(self, found: dict[str, torch.Tensor]) -> Raw:
        masks = found["masks"][:, 0].float().cpu().numpy() if "masks" in found else None
        boxes = found["boxes"].float().cpu().numpy()
        labels = (found["labels"] - 1).to(torch.int32).cpu().numpy()
        return boxes, labels, found["scores"].float().cpu().numpy(), masks


def spec_of(card: FolderCard) -> DetectorSpec:
    """Return what builds the network of a card.

    Raises
    ------
    UsageError
        When the card is of another task.
    """
    card.require_task(TASK)
    return DetectorSpec(classes=card.classes, architecture=card.architecture, **card.parameters)
