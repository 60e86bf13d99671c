"""Whether the tissue is fit to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from coverslip.pipeline.stage import chosen
from coverslip.slides import Slide
from coverslip.tissue.quality import QualitySpec, assess


@dataclass(frozen=True)
class QualityStage(QualitySpec):
    """Assess the tissue's quality; the parameters are those of `coverslip.tissue.quality.QualitySpec`."""

    name: ClassVar[str] = "quality"
    version: ClassVar[int] = 1

    def reads(self) -> tuple[str, ...]:
        """Return the key of the polygons."""
        return ("tissue",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the assessment."""
        return ("quality",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Assess focus, pen, folds, bubbles and strength of stain, cell by cell."""
        return {"quality": assess(slide, chosen(inputs, "tissue"), self)}
