"""Where the tissue is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from coverslip.core.errors import NoTissueError
from coverslip.pipeline.stage import NOTES
from coverslip.slides import Slide
from coverslip.tissue import TissueSpec, find_tissue


@dataclass(frozen=True)
class TissueStage(TissueSpec):
    """Find the tissue; the parameters are those of `coverslip.tissue.TissueSpec`."""

    name: ClassVar[str] = "tissue"
    version: ClassVar[int] = 1

    def reads(self) -> tuple[str, ...]:
        """Return nothing: it looks at the slide alone."""
        return ()

    def writes(self) -> tuple[str, ...]:
        """Return the key of the polygons."""
        return ("tissue",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's
        """Find the tissue.

        Raises
        ------
        NoTissueError
            When there is none: nothing after this stage would have anything to work on.
        """
        tissue = find_tissue(slide, self)
        if tissue.empty:
            notes = "".join(f" ({note})" for note in tissue.notes)
            raise NoTissueError(
                f"{slide.path} shows no tissue{notes}",
                mend=f"look at it; if there is faint tissue, try --set tissue.faintest={self.faintest / 2:g}",
            )
        return {"tissue": tissue, NOTES: tissue.notes}
