"""A Cellpose model [1]_ of the user, of Cellpose 2 or 3: one file of weights.

The package is BSD-3-Clause. **The weights that its makers publish are CC BY-NC 4.0: not for commercial use.**
Cellpose 4 is a vision transformer of 300 million weights and is not offered.

References
----------
.. [1] C. Stringer et al., "Cellpose: a generalist algorithm for cellular segmentation", Nature Methods 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError, StoreError
from coverslip.models.nuclei.intensity import resized
from coverslip.models.nuclei.peers.labelled import FoundLabels, Normalise, found_of, levelled

PERCENTILES = (1.0, 99.0)
"""By which Cellpose sets the levels of a picture."""


@dataclass(frozen=True, kw_only=True)
class CellposeOptions:
    """How a Cellpose model is applied.

    Attributes
    ----------
    mpp
        Microns per pixel at which slides are read for it.
    diameter
        Pixels of a usual nucleus at that mpp; None: as large as those that the model was trained on.
    flow, probability
        Cellpose's ``flow_threshold`` and ``cellprob_threshold``.
    smallest
        Least pixels of a nucleus.
    invert
        Show the model the negative: for models of fluorescence on bright field.
    normalise
        See `coverslip.models.nuclei.peers.labelled.Normalise`.
    """

    mpp: float
    diameter: float | None = None
    flow: float = 0.4
    probability: float = 0.0
    smallest: int = 15
    invert: bool = False
    normalise: Normalise = "slide"


@dataclass(frozen=True)
class CellposeDetector:
    """See `coverslip.models.nuclei.detector.Detector`."""

    model: Any
    how: CellposeOptions
    options: ClassVar[type[CellposeOptions]] = CellposeOptions
    margin: int = 128

    @classmethod
    def open(cls, path: Path, how: CellposeOptions) -> Self:
        """Load the weights; see `coverslip.models.nuclei.peers.PeerModel.open`."""
        import pickle

        try:
            import torch
            from cellpose.models import CellposeModel
        except ImportError as error:
            raise MissingExtraError.of("cellpose", "cellpose") from error
        try:
            torch.load(
                path, map_location="cpu", weights_only=True
            )  # the package itself would run what it holds
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise StoreError(f"{path} holds no Cellpose weights: {error}", mend="check the path") from error
        return cls(CellposeModel(gpu=False, pretrained_model=str(path)), how)

    @property
    def mpp(self) -> float:
        """See `coverslip.models.nuclei.detector.Detector`."""
        return self.how.mpp

    @property
    def diameter(self) -> float:
        """See `coverslip.models.nuclei.detector.Detector`."""
        return float(self.model.diam_mean if self.how.diameter is None else self.how.diameter)

    def find(
        self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0
    ) -> FoundLabels:
        """See `coverslip.models.nuclei.detector.Detector`."""
        grey = resized(pixels, scale).mean(axis=2, keepdims=True)
        seen = levelled(grey, between, self.how.normalise, PERCENTILES)[..., 0]
        labels, flows, _ = self.model.eval(
            1 - seen if self.how.invert else seen,
            channels=[0, 0],
            normalize=False,
            diameter=self.diameter,
            flow_threshold=self.how.flow,
            cellprob_threshold=self.how.probability,
            min_size=self.how.smallest,
        )
        return found_of(labels, pixels.shape[:2], _scores(labels, flows[2]))


def _scores(labels: NDArray[Any], logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean probability of the pixels of each nucleus, by its number."""
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64).ravel()))
    of = np.asarray(labels).ravel()
    return (np.bincount(of, probability) / np.maximum(np.bincount(of), 1))[1:]
