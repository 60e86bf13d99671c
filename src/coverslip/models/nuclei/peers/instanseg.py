"""An InstanSeg model [1]_ of the user: the TorchScript file that the package exports (``instanseg.pt``).

Such a file runs with torch alone; the package (Apache-2.0) is not needed. Published weights have the licence
of the data that they were trained on.

References
----------
.. [1] T. Goldsborough et al., "InstanSeg: an embedding-based instance segmentation algorithm optimized for
   accurate, efficient and portable cell segmentation", arXiv:2408.15954, 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError, StoreError, UsageError
from coverslip.models.nuclei.intensity import resized
from coverslip.models.nuclei.peers.labelled import USUAL_UM, FoundLabels, Normalise, found_of, levelled

PERCENTILES = (0.1, 99.9)
"""By which InstanSeg sets the levels of a picture."""

TARGETS = {"nuclei": (1, 0), "cells": (0, 1)}


@dataclass(frozen=True, kw_only=True)
class InstanSegOptions:
    """How an InstanSeg model is applied.

    Attributes
    ----------
    mpp
        Microns per pixel of the pictures that it was trained on; None takes what the model says.
    target
        What is wanted of a model that knows both.
    normalise
        See `coverslip.models.nuclei.peers.labelled.Normalise`.
    """

    mpp: float | None = None
    target: Literal["nuclei", "cells"] = "nuclei"
    normalise: Normalise = "slide"


@dataclass(frozen=True)
class InstanSegDetector:
    """See `coverslip.models.nuclei.detector.Detector`."""

    model: Any
    how: InstanSegOptions
    mpp: float
    options: ClassVar[type[InstanSegOptions]] = InstanSegOptions
    margin: int = 128

    @classmethod
    def open(cls, path: Path, how: InstanSegOptions) -> Self:
        """Load the file; see `coverslip.models.nuclei.peers.PeerModel.open`."""
        import warnings

        try:
            import torch
        except ImportError as error:
            raise MissingExtraError.of("torch", "torch") from error
        try:
            with (
                warnings.catch_warnings()
            ):  # torch would rather have models exported; InstanSeg writes TorchScript
                warnings.simplefilter("ignore", FutureWarning)
                model = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise StoreError(f"{path} is no TorchScript file: {error}", mend="check the path") from error
        mpp = float(getattr(model, "pixel_size", 0) or 0) if how.mpp is None else how.mpp
        if not mpp > 0:
            raise UsageError(
                f"{path} does not say at what scale it was trained",
                mend="say it: --set 'nuclei.options={mpp: 0.5}'",
            )
        return cls(model, how, mpp)

    @property
    def diameter(self) -> float:
        """See `coverslip.models.nuclei.detector.Detector`."""
        return USUAL_UM / self.mpp

    def find(
        self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0
    ) -> FoundLabels:
        """See `coverslip.models.nuclei.detector.Detector`."""
        import torch

        seen = levelled(resized(pixels, scale), between, self.how.normalise, PERCENTILES)
        batch = torch.from_numpy(np.ascontiguousarray(seen)).permute(2, 0, 1)[None].contiguous()
        with torch.inference_mode():
            labels = self.model(batch, target_segmentation=torch.tensor(TARGETS[self.how.target]))
        return found_of(labels[0, 0].numpy().astype(np.int32), pixels.shape[:2])
