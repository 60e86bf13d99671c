"""What a phantom slide shall look like: a frozen value, and ready-made ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from coverslip.core import as_mpp, unknown
from coverslip.core.errors import UsageError

KINDS = ("blur", "pen", "fold", "bubble", "over_stained", "under_stained", "dust", "coverslip_edge")
"""The artefacts that a phantom can have."""

SMALLEST, LARGEST = 64, 200_000
"""Sides of a phantom in pixels: below nothing can be seen, above no scanner goes."""

MPP = (0.2, 2.5)
"""Microns per pixel that can be painted: from a 40x scan to where a nucleus is two pixels."""

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """What a phantom slide shall look like; what it does look like follows from this and a seed.

    Attributes
    ----------
    width, height
        Of level 0, in pixels.
    mpp
        Microns per pixel of level 0, 0.2 … 2.5.
    tissue_share
        Share of the slide that tissue outlines cover, 0 … 0.8; 0 makes an empty slide.
    n_sections
        How many pieces of tissue lie on the glass.
    shape
        ``"resection"`` (broad pieces) or ``"biopsy"`` (long thin cores).
    holes
        Holes torn into each piece of tissue, on average.
    tumour_share, fatty
        Shares of the tissue that are tumour and adipose tissue.
    glandular
        How much of the remaining tissue holds glands, 0 … 1.
    faint
        0 as usual … 0.9 hardly stained.
    stain
        ``"he"``, ``"ihc"`` (haematoxylin and DAB in nuclei) or ``"fluorescence"`` (dark ground, blue nuclei).
    positive_share
        Share of the nuclei that are DAB-positive (``"ihc"`` only): of tumour nuclei; a tenth of it elsewhere.
    marker
        Where DAB sits (``"ihc"`` only): in ``"nuclei"``, or on the ``"membrane"`` of tumour cells.
    levels
        Shares of the positive cells that are weak, moderate and strong (1+, 2+, 3+); None: all alike.
    hot
        A hot spot: x and y as shares of width and height, and radius in µm. In it three times as many cells
        are positive, or in mitosis.
    mitoses
        Share of the tumour nuclei that are in mitosis.
    lymphocytes
        How many lymphocytes there are, as a multiple of the usual.
    necrosis, fibrosis
        Share of the tumour that is dead, and of the tissue outside tumour and fat that is scar.
    patterns
        Shares of the glands that grow in Gleason pattern 3 (one lumen), 4 (cribriform) and 5 (solid); None:
        all have one lumen.
    stains
        Two optical-density vectors (R, G, B), haematoxylin first; None draws them from the seed.
    artefacts
        Pairs of kind (see `KINDS`) and count.
    glass
        Colour of the empty glass, 0 … 255.
    noise
        Standard deviation of the camera's noise in grey levels.
    illumination
        How much darker (share) the corners of each camera field are than its middle.

    Raises
    ------
    UsageError
        When a value cannot be served.

    Examples
    --------
    >>> PhantomSpec(width=2048, height=1024, artefacts=(("pen", 2),)).count("pen")
    2
    """

    width: int = 4096
    height: int = 4096
    mpp: float = 0.5
    tissue_share: float = 0.35
    n_sections: int = 1
    shape: Literal["resection", "biopsy"] = "resection"
    holes: float = 1.0
    tumour_share: float = 0.3
    fatty: float = 0.0
    glandular: float = 0.6
    faint: float = 0.0
    stain: Literal["he", "ihc", "fluorescence"] = "he"
    positive_share: float = 0.3
    marker: Literal["nuclei", "membrane"] = "nuclei"
    levels: Triple | None = None
    hot: Triple | None = None
    mitoses: float = 0.0
    lymphocytes: float = 1.0
    necrosis: float = 0.0
    fibrosis: float = 0.0
    patterns: Triple | None = None
    stains: tuple[Triple, Triple] | None = None
    artefacts: tuple[tuple[str, int], ...] = ()
    glass: Triple = (243.0, 243.0, 242.0)
    noise: float = 1.2
    illumination: float = 0.012

    def __post_init__(self) -> None:
        _within("mpp", as_mpp(self.mpp), *MPP)
        _within("width", self.width, SMALLEST, LARGEST)
        _within("height", self.height, SMALLEST, LARGEST)
        _within("tissue_share", self.tissue_share, 0, 0.8)
        _within("n_sections", self.n_sections, 0, 60)
        _within("holes", self.holes, 0, 50)
        _within("faint", self.faint, 0, 0.9)
        _within("noise", self.noise, 0, 20)
        _within("illumination", self.illumination, 0, 0.3)
        for name in (
            "tumour_share",
            "fatty",
            "glandular",
            "positive_share",
            "mitoses",
            "necrosis",
            "fibrosis",
        ):
            _within(name, getattr(self, name), 0, 1)
        _within("lymphocytes", self.lymphocytes, 0, 5)
        for name in ("levels", "patterns"):
            shares = getattr(self, name)
            if shares is not None:
                _within(f"sum of {name}", sum(shares), 1 - 1e-6, 1 + 1e-6)
        for value in self.glass:
            _within("glass", value, 150, 255)
        self._check_names()

    def _check_names(self) -> None:
        if self.shape not in ("resection", "biopsy"):
            raise unknown("shape", self.shape, ("resection", "biopsy"))
        if self.marker not in ("nuclei", "membrane"):
            raise unknown("marker", self.marker, ("nuclei", "membrane"))
        if self.stain not in ("he", "ihc", "fluorescence"):
            raise unknown("stain", self.stain, ("he", "ihc", "fluorescence"))
        for kind, count in self.artefacts:
            if kind not in KINDS:
                raise unknown("artefact", kind, KINDS)
            _within(f"count of {kind}", count, 0, 1000)
        if self.stains is not None:
            for vector in self.stains:
                if len(vector) != 3 or min(vector) < 0 or max(vector) <= 0:
                    raise UsageError(f"stains: {vector} is no optical-density vector: expected 3 numbers ≥ 0")

    def count(self, kind: str) -> int:
        """Return how many artefacts of `kind` are wanted."""
        return sum(n for name, n in self.artefacts if name == kind)

    @property
    def tissue(self) -> bool:
        """False for an empty slide."""
        return self.tissue_share > 0 and self.n_sections > 0


def _within(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise UsageError(f"{name} {value!r} is out of range: expected {low:g} to {high:g}")
