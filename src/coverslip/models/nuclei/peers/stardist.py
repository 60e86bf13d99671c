"""A StarDist model [1]_ of the user: a folder with ``config.json`` and weights.

The package is BSD-3-Clause. Published weights have the licence of the data that they were trained on.

References
----------
.. [1] U. Schmidt et al., "Cell detection with star-convex polygons", MICCAI 2018.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError, StoreError
from coverslip.models.nuclei.intensity import resized
from coverslip.models.nuclei.peers.labelled import USUAL_UM, FoundLabels, Normalise, found_of, levelled

PERCENTILES = (1.0, 99.8)
"""By which StarDist's own examples set the levels of a picture."""


@dataclass(frozen=True, kw_only=True)
class StarDistOptions:
    """How a StarDist model is applied.

    Attributes
    ----------
    mpp
        Microns per pixel of the pictures that it was trained on.
    probability, overlap
        Thresholds; None takes those that were chosen with the model.
    normalise
        See `coverslip.models.nuclei.peers.labelled.Normalise`.
    """

    mpp: float
    probability: float | None = None
    overlap: float | None = None
    normalise: Normalise = "slide"


@dataclass(frozen=True)
class StarDistDetector:
    """See `coverslip.models.nuclei.detector.Detector`."""

    model: Any
    how: StarDistOptions
    options: ClassVar[type[StarDistOptions]] = StarDistOptions
    margin: int = 128

    @classmethod
    def open(cls, path: Path, how: StarDistOptions) -> Self:
        """Load the model folder; see `coverslip.models.nuclei.peers.PeerModel.open`."""
        try:
            from stardist.models import StarDist2D
        except ImportError as error:
            raise MissingExtraError.of("stardist", "stardist") from error
        if not (path / "config.json").is_file():
            raise StoreError(
                f"{path} is no StarDist model: it has no config.json", mend="give the model's folder"
            )
        with redirect_stdout(sys.stderr):  # it tells what it loads, but stdout is for data
            model = StarDist2D(None, name=path.resolve().name, basedir=str(path.resolve().parent))
        if model.config.n_channel_in not in (1, 3):
            raise StoreError(f"{path} takes {model.config.n_channel_in} channels: expected 1 or 3")
        return cls(model, how)

    @property
    def mpp(self) -> float:
        """See `coverslip.models.nuclei.detector.Detector`."""
        return self.how.mpp

    @property
    def diameter(self) -> float:
        """See `coverslip.models.nuclei.detector.Detector`."""
        return USUAL_UM / self.mpp

    def find(
        self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0
    ) -> FoundLabels:
        """See `coverslip.models.nuclei.detector.Detector`."""
        seen = levelled(resized(pixels, scale), between, self.how.normalise, PERCENTILES)
        grey = self.model.config.n_channel_in == 1
        labels, details = self.model.predict_instances(
            seen.mean(axis=2) if grey else seen,
            axes="YX" if grey else "YXC",
            prob_thresh=self.how.probability,
            nms_thresh=self.how.overlap,
            show_tile_progress=False,
            predict_kwargs={"verbose": 0},
        )
        return found_of(labels, pixels.shape[:2], details["prob"])
