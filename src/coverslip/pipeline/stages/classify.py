"""What a trained classifier says of a slide: of its tiles, or of the slide as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import RecipeError, UsageError
from coverslip.learn.classify.heat import heat_map, tile_table
from coverslip.models.folder import ModelFolder
from coverslip.models.pinned import pin
from coverslip.models.slide_classifier import SlideClassifier
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.pipeline.stages.stain import require_stain_of
from coverslip.slides import Slide
from coverslip.store import Prediction, RunFolder
from coverslip.tiles import Tiles, stream

SCALE = 0.05
"""Share by which the tiles' mpp may differ from the model's."""


@dataclass(frozen=True)
class ClassifyStage:
    """Judge tiles with a model that ``coverslip train`` made: a row per tile, a heat map, and the slide.

    Parameters
    ----------
    model
        A model folder.
    digest
        SHA-256 of its weights, as ``sha256:…``. Filled in when not given; checked when given.
    device, threads, batch
        Where it runs; tiles judged at once.

    Raises
    ------
    StoreError, UsageError
        When the folder holds no whole model, another one than `digest` says, or none of tiles.
    """

    name: ClassVar[str] = "classify"
    version: ClassVar[int] = 2

    model: str = ""
    digest: str | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 2
    batch: int = 64

    def __post_init__(self) -> None:
        if not self.model:
            return
        pin(self, "digest", _model(self.model, "classify/tiles").digest, what=self.model)

    def reads(self) -> tuple[str, ...]:
        """Return the key of the tiles."""
        return ("tiles",)

    def writes(self) -> tuple[str, ...]:
        """Return the keys of what is said of tiles, and of the map."""
        name = _model(self.model, "classify/tiles").card.id if self.model else self.name
        return (f"predictions/{name}", f"maps/{name}")

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Judge all tiles.

        Raises
        ------
        UsageError
            When the tiles are not of the size and mpp that the model was trained on; when none can be read.
        StainError
            When the slide shows another stain than the model's card names.
        """
        model = _required(self.model)
        tiles: Tiles = chosen(inputs, "tiles")
        _check_tiles(model, tiles)
        require_stain_of(model.card.id, model.card.stain, slide, tiles)
        judge = SlideClassifier.load(model, **_where(model, self.device, self.threads))
        batches = stream(slide, tiles, batch_size=self.batch, threads=1)
        seen = judge.judge(batches, len(tiles))
        own = judge.slide(seen)
        classes = judge.tiles.classes
        predictions, maps = self.writes()
        unread = int(np.isnan(seen.chances).any(axis=1).sum())
        notes = [f"{unread} of {len(tiles)} tiles could not be read", *seen.errors] if unread else []
        return {
            predictions: tile_table(tiles, seen.chances, classes, own),
            maps: heat_map(slide, tiles, seen.chances, classes),
            NOTES: notes,
        }

    def finish(self, run: RunFolder) -> Mapping[str, Any]:
        """Return a row per slide."""
        key = self.writes()[0]
        return {key: slides_said(run, key, ModelFolder.load(self.model).card.classes)}


@dataclass(frozen=True)
class ClassifySlideStage:
    """Judge whole slides, made small, with a model that ``coverslip train`` made with method ``slide``.

    Parameters
    ----------
    model, digest, device, threads
        See `ClassifyStage`.
    """

    name: ClassVar[str] = "classify-slide"
    version: ClassVar[int] = 2

    model: str = ""
    digest: str | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 2

    def __post_init__(self) -> None:
        if not self.model:
            return
        pin(self, "digest", _model(self.model, "classify/slide").digest, what=self.model)

    def reads(self) -> tuple[str, ...]:
        """Return nothing: it looks at the slide alone."""
        return ()

    def writes(self) -> tuple[str, ...]:
        """Return the key of what is said of the slide."""
        name = _model(self.model, "classify/slide").card.id if self.model else self.name
        return (f"predictions/{name}",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's
        """Make the slide small and judge it."""
        from coverslip.models.picture_classifier import PictureClassifier
        from coverslip.models.shrink import shrunk_slide

        model = _required(self.model)
        classifier = PictureClassifier.load(model, **_where(model, self.device, self.threads))
        picture = shrunk_slide(slide, classifier.side, model.card.mpp)
        chances = classifier.probabilities(picture[None])
        columns: dict[str, NDArray[Any]] = {"label": chances.argmax(axis=1).astype(np.int32)}
        columns |= {f"probability_{name}": chances[:, i] for i, name in enumerate(classifier.classes)}
        notes = {"names": list(classifier.classes), "slide": chances[0].astype(float).tolist()}
        return {self.writes()[0]: Prediction(columns, notes)}

    def finish(self, run: RunFolder) -> Mapping[str, Any]:
        """Return a row per slide."""
        key = self.writes()[0]
        return {key: slides_said(run, key, ModelFolder.load(self.model).card.classes)}


def slides_said(run: RunFolder, key: str, classes: tuple[str, ...]) -> Prediction:
    """Return what was said of each slide: ``slide``, ``prediction``, ``probability_<class>``."""
    said = [(slide, run.get(slide, key).notes["slide"]) for slide in run.slides() if run.has(slide, key)]
    chances = np.array([row for _, row in said], np.float64).reshape(-1, len(classes))
    columns: dict[str, NDArray[Any]] = {
        "slide": np.array([slide for slide, _ in said], dtype=np.str_),
        "predicted": np.array(classes)[chances.argmax(axis=1)] if said else np.zeros(0, "U1"),
    }
    columns |= {f"probability_{name}": chances[:, place] for place, name in enumerate(classes)}
    return Prediction(columns, {"classes": list(classes), "target": key.partition("/")[2]})


# ------------------------------------------------------------------ recipes of model folders
def recipe_of_tiles(model: ModelFolder) -> Mapping[str, Any]:
    """Return the recipe that applies a classifier of tiles: tissue, tiles at the model's mpp, classify.

    Raises
    ------
    RecipeError
        When the model does not say its mpp.
    """
    card = model.card
    if card.mpp is None:
        raise RecipeError(
            f"{model.path} does not say at which mpp its tiles were",
            mend="train it anew with mpp: in TASK.yaml; coverslip predict applies it to plain pictures",
        )
    cut = card.preprocessing.get("tiles", {"quality": False})
    tiles = {"mpp": card.mpp, "size": card.tile_px, **cut}
    stages = ["tissue", {"tiles": tiles}, {"classify": {"model": str(model.path)}}]
    return {"name": card.id, "description": f"Apply {model.path}", "stages": stages}


def recipe_of_slide(model: ModelFolder) -> Mapping[str, Any]:
    """Return the recipe that applies a classifier of whole slides."""
    stages = [{"classify-slide": {"model": str(model.path)}}]
    return {"name": model.card.id, "description": f"Apply {model.path}", "stages": stages}


def _model(path: str, task: str) -> ModelFolder:
    model = ModelFolder.load(path)
    if model.card.task != task:
        raise UsageError(
            f"{path} is a model for {model.card.task}, expected one for {task}",
            mend=f"coverslip run {path} SLIDES takes the recipe that it needs",
        )
    return model


def _required(path: str) -> ModelFolder:
    if not path:
        raise RecipeError("the stage names no model", mend="--set classify.model=RUN/models/TARGET")
    return ModelFolder.load(path)


def _where(model: ModelFolder, device: str, threads: int) -> dict[str, Any]:
    mixed = model.card.preprocessing.get("precision") == "bf16"
    return {"device": device, "threads": threads, "precision": "bf16" if mixed else "f32"}


def _check_tiles(model: ModelFolder, tiles: Tiles) -> None:
    card = model.card
    if tiles.spec.size != card.tile_px:
        raise UsageError(
            f"model {card.id!r} takes tiles of {card.tile_px} px, these have {tiles.spec.size}",
            mend=f"lay the tiles anew: --set tiles.size={card.tile_px}",
        )
    if card.mpp is not None and abs(tiles.mpp / card.mpp - 1) > SCALE:
        raise UsageError(
            f"model {card.id!r} was trained at mpp {card.mpp:g}, these tiles have {tiles.mpp:g}",
            mend=f"lay the tiles anew: --set tiles.mpp={card.mpp:g}",
        )
