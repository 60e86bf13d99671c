"""Objects that a detector finds: outlines or boxes, each owned by one tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from coverslip.core.errors import RecipeError, UsageError
from coverslip.models.pinned import pin
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.pipeline.stages.segment import model_at
from coverslip.slides import Slide
from coverslip.store import ObjectStream, Resume
from coverslip.tiles import Tiles

if TYPE_CHECKING:
    from coverslip.models.folder import ModelFolder

MPP_SLACK = 0.05
"""How far the tiles' mpp may lie from the model's, as a share."""


@dataclass(frozen=True, kw_only=True)
class DetectStage:
    """Find objects with a model of ``coverslip train`` (``task: detect``): Mask R-CNN or boxes alone.

    Writes ``objects/<model>``: polygons with class and score, and the box of each. Tiles are read with a
    margin, and each object is kept by the one tile on which the middle of its box lies.

    Parameters
    ----------
    model
        The model folder.
    model_digest
        SHA-256 of its weights. Filled in when not given; checked when given.
    margin
        Pixels read around each tile; half the width of the largest object, and what it takes to know one.
    least_score
        Less sure objects are left out; None for what was best on the pictures validated on.
    precision, device, threads, batch
        How and where it runs, and how many tiles at once.

    Raises
    ------
    StoreError
        When the model folder is not whole, or not that of `model_digest`.
    UsageError
        When the margin is below 0.
    """

    name: ClassVar[str] = "detect"
    version: ClassVar[int] = 1

    model: str = ""
    model_digest: str | None = None
    margin: int = 64
    least_score: float | None = None
    precision: Literal["f32", "bf16"] = "f32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 2
    batch: int = 2

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise UsageError(f"margin {self.margin} cannot be: expected 0 or more")
        if self.model:
            pin(self, "model_digest", self._folder().digest, what=self.model)

    def reads(self) -> tuple[str, ...]:
        """Return the key of the tiles."""
        return ("tiles",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return (f"objects/{self._folder().card.id if self.model else 'detect'}",)

    def classes(self) -> tuple[str, ...]:
        """Return the classes that ``within`` and ``where`` may name."""
        return self._folder().card.classes if self.model else ()

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find the objects, after the parts that an earlier run left.

        Raises
        ------
        RecipeError
            When no model is named, or the tiles have another mpp than it was trained at.
        """
        from coverslip.learn.detect.slide import MEASUREMENTS, objects_of_slide, parts_of
        from coverslip.models.detectors_run import Detector

        tiles: Tiles = chosen(inputs, "tiles")
        folder, (key,), notes = self._folder(), self.writes(), list[str]()
        self._check_mpp(folder, tiles)
        options: dict[str, Any] = {"precision": self.precision, "device": self.device}
        detector = Detector.load(folder, least_score=self.least_score, threads=self.threads, **options)
        start = inputs.get("resume", Resume()).parts(key)
        parts = objects_of_slide(
            detector, slide, tiles, margin=self.margin, start=start, batch=self.batch, notes=notes
        )
        found = ObjectStream(
            parts,
            n=parts_of(tiles),
            classes=detector.classes,
            mpp=slide.mpp,
            measurements=MEASUREMENTS,
            notes={"model": self.model_digest, "model_mpp": folder.card.mpp},
        )
        return {key: found, NOTES: notes}

    def _folder(self) -> ModelFolder:
        if not self.model:
            raise RecipeError(
                "stage 'detect' names no model", mend="give the folder: --set detect.model=RUN/models/NAME"
            )
        return model_at(self.model)

    def _check_mpp(self, folder: ModelFolder, tiles: Tiles) -> None:
        wanted = folder.card.mpp
        if wanted is not None and abs(tiles.mpp / wanted - 1) > MPP_SLACK:
            raise RecipeError(
                f"{folder.card.id} was trained at {wanted:g} µm per pixel, these tiles have {tiles.mpp:g}",
                mend=f"lay the tiles anew: --set tiles.mpp={wanted:g}",
            )


def recipe_of_model(model: ModelFolder) -> dict[str, Any]:
    """Return the recipe that applies a detector: tissue, tiles without overlap, objects."""
    if model.card.mpp is None:
        raise RecipeError(
            f"{model.path} was trained on pictures without a scale, so it cannot choose one on slides",
            mend="train with mpp, or write a recipe that lays tiles and names the model",
        )
    tiles = {"mpp": model.card.mpp, "size": 512, "edge": "pad", "min_tissue": 0.01, "quality": False}
    return {
        "name": model.card.id,
        "description": f"Objects: {', '.join(model.card.classes)}.",
        "stages": ["tissue", {"tiles": tiles}, {"detect": {"model": str(model.path)}}],
    }
