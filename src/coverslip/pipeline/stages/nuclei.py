"""Every nucleus of the slide, by the model that ships with Coverslip or one of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from coverslip.core.errors import UsageError
from coverslip.models.folder import ModelFolder
from coverslip.models.nuclei.detector import SHIPPED, load_nuclei
from coverslip.models.nuclei.slide import CLASSES, MEASUREMENTS, nuclei_of_slide, parts_of
from coverslip.models.pinned import pin
from coverslip.pipeline.stage import LIMITED, NOTES, chosen
from coverslip.slides import Slide
from coverslip.store import ObjectStream, ObjectTable, Resume
from coverslip.tiles import Tiles

KEY = "objects/nuclei"


@dataclass(frozen=True)
class NucleiStage:
    """Find nuclei as polygons, each owned by the tile on which its centre lies.

    Where a recipe limits the stage to regions, nuclei are kept whose centre lies in one.

    Parameters
    ----------
    model
        Model folder; None takes the one that ships with Coverslip, and ``phantom-nuclei`` the small one that
        serves phantoms only.
    weights_digest
        SHA-256 of the model's weights, as ``sha256:…``. Filled in when not given; checked when given.
    precision
        ``"bf16"`` is several times as fast where the processor has instructions for it; nuclei differ little.
    threads
        CPU threads of the network.

    Raises
    ------
    StoreError
        When the model is not there, or not that of `weights_digest`.
    UsageError
        When there is no such precision, or no thread.
    """

    name: ClassVar[str] = "nuclei"
    version: ClassVar[int] = 1

    model: str | None = None
    weights_digest: str | None = None
    precision: Literal["f32", "bf16"] = "bf16"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.precision not in ("f32", "bf16"):
            raise UsageError(f"precision {self.precision!r} is unknown", mend="give f32 or bf16")
        if self.threads < 1:
            raise UsageError(f"{self.threads} threads cannot be", mend="give 1 or more")
        found = ModelFolder.load(SHIPPED if self.model is None else self.model).digest
        pin(self, "weights_digest", found, what="the nuclei model")

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tissue and tiles."""
        return ("tissue", "tiles")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the nuclei."""
        return (KEY,)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find the nuclei, after the parts that an earlier run left.

        Raises
        ------
        UsageError
            When the tiles do not have the model's mpp.
        MissingExtraError
            When torch is not installed.
        """
        tiles: Tiles = chosen(inputs, "tiles")
        start = inputs.get("resume", Resume()).parts(KEY)
        notes: list[str] = []
        detector = load_nuclei(self.model, precision=self.precision)
        parts = nuclei_of_slide(detector, slide, tiles, start=start, notes=notes)
        if LIMITED in inputs:
            parts = _inside(parts, chosen(inputs, "tissue").polygons)
        found = ObjectStream(
            self._on_threads(parts),
            n=parts_of(tiles),
            classes=CLASSES,
            mpp=slide.mpp,
            measurements=MEASUREMENTS,
            notes={"model": self.weights_digest, "model_mpp": detector.mpp},
        )
        return {KEY: found, NOTES: notes}

    def _on_threads(self, parts: Iterator[ObjectTable]) -> Iterator[ObjectTable]:
        """Set torch's threads only while a part is made: they are the process's, not ours."""
        while True:
            with torch_threads(self.threads):
                part = next(parts, None)
            if part is None:
                return
            yield part


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _inside(parts: Iterator[ObjectTable], polygons: tuple[Any, ...]) -> Iterator[ObjectTable]:
    """Keep the objects whose centre lies in one of the polygons."""
    import shapely

    region = shapely.union_all(list(polygons))
    shapely.prepare(region)
    for part in parts:
        x, y = part.xy.T
        yield part.take(shapely.contains_xy(region, x, y)) if len(part) else part
