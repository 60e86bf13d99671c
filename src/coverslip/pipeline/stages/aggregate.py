"""What a model of bags says of a slide or a case, and where it looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import NoTissueError, RecipeError
from coverslip.models.folder import ModelFolder
from coverslip.models.pinned import pin
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.store import Features, MapStream, Prediction, RunFolder, Table
from coverslip.tiles import MapSpec, Tiles

if TYPE_CHECKING:
    from coverslip.learn.bags.model import BagModel, BagSaid

TILE_PX = 8
"""Pixels of a tile's side on the map: each tile has one value."""

ATTENTION = "attention"

AT_ONCE = 1024


@dataclass(frozen=True)
class _Model:
    """The parameters that both stages share.

    Parameters
    ----------
    model
        Folder of a model that was trained with ``method: bags``.
    weights_digest
        SHA-256 of its weights, as ``sha256:…``. Filled in when not given; checked when given.
    encoder
        Of the features. Filled in from the model when not given.

    Raises
    ------
    RecipeError
        When no model is given, or the model does not say what features it takes.
    StoreError
        When the model is not there, or not that of `weights_digest`.
    UsageError
        When it is no model of bags.
    """

    model: str = ""
    weights_digest: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        if not self.model:
            raise RecipeError("the stage aggregate names no model", mend="give one: model: RUN/models/TARGET")
        found = ModelFolder.load(self.model)
        pin(self, "weights_digest", found.digest, what=self.model)
        encoder = self.encoder or found.card.preprocessing.get("encoder")
        if not encoder:
            raise RecipeError(
                f"{self.model} does not say what its features are", mend="give encoder: NAME to the stage"
            )
        object.__setattr__(self, "encoder", encoder)

    @cached_property
    def _loaded(self) -> BagModel:
        from coverslip.learn.bags.model import BagModel

        return BagModel.load(self.model)

    def _say(
        self, features: Features, coords: NDArray[Any] | None = None
    ) -> tuple[BagSaid, NDArray[np.bool_]]:
        """Return what the model says, and which tiles it saw, (n,)."""
        self._loaded.require(
            dim=features.X.shape[1],
            encoder=features.encoder,
            tile_px=features.tile_px or None,
            mpp=features.mpp,
        )
        seen = ~features.missing
        if not seen.any():
            raise NoTissueError(
                "no tile has features to judge by", mend="look at tissue and tiles of the slide"
            )
        places = features.coords if coords is None else coords
        return self._loaded.say(features.X[seen], places[seen] if self._loaded.uses_coords else None), seen


@dataclass(frozen=True)
class AggregateStage(_Model):
    """Predict a slide from the features of its tiles, and say how much each tile counted.

    Writes, under the model's name: ``tables`` with a row per target and class; ``predictions`` with a row per
    tile (``attention``, a share of 1, and what the model says of the tile alone, where its method defines
    that); ``maps`` with the attention relative to the highest and the tiles' probabilities. Of the run:
    ``predictions/<target>``, a row per slide.

    Parameters
    ----------
    model, weights_digest, encoder
        See `_Model`.

    Raises
    ------
    RecipeError, StoreError, UsageError
        When the model cannot be used.
    """

    name: ClassVar[str] = "aggregate"
    version: ClassVar[int] = 1

    @cached_property
    def result(self) -> str:
        """Name of what it writes: the model's."""
        return ModelFolder.load(self.model).card.id

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tiles and features."""
        return ("tiles", f"features/{self.encoder}")

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the slide's prediction, the tiles' and the map."""
        return (f"tables/{self.result}", f"predictions/{self.result}", f"maps/{self.result}")

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Predict the slide.

        Raises
        ------
        UsageError
            When the features are of another encoder or other tiles than the model was trained on.
        NoTissueError
            When there is no tile to judge by.
        """
        tiles: Tiles = chosen(inputs, "tiles")
        features: Features = chosen(inputs, f"features/{self.encoder}")
        if not np.array_equal(tiles.xy, features.coords):
            raise RecipeError(
                f"the {len(features)} rows of features do not belong to the {len(tiles)} tiles",
                mend="run embed anew on these tiles",
            )
        said, seen = self._say(features)
        of_tiles = self._of_tiles(said, seen)
        notes = (
            []
            if seen.all()
            else [f"{int((~seen).sum())} of {len(seen)} tiles have no features and were left out"]
        )
        if self._loaded.card.preprocessing.get("bag") == "case":
            notes.append("the model was trained on cases; this is what it says of the one slide")
        made = (
            self._table(said),
            Prediction({"x": tiles.xy[:, 0], "y": tiles.xy[:, 1], **of_tiles}, {"names": []}),
            _map(slide, tiles, of_tiles, seen),
        )
        return {**dict(zip(self.writes(), made, strict=True)), NOTES: notes}

    def finish(self, run: RunFolder) -> Mapping[str, Any]:
        """Return a table per target, a row per slide that was predicted."""
        key = self.writes()[0]
        tables = {slide: run.get(slide, key) for slide in run.slides() if run.has(slide, key)}
        if not tables:
            return {}
        return {f"predictions/{t.column}": _of_run(t.column, t.kind, tables) for t in self._loaded.targets}

    def _table(self, said: BagSaid) -> Table:
        """Return a row per target and class: what was said; of a regression one row, class empty."""
        targets: list[str] = []
        names: list[str] = []
        values: list[float] = []
        for target, classes, each in zip(self._loaded.targets, self._loaded.classes, said.said, strict=True):
            targets += [target.column] * len(each)
            names += classes or ("",)
            values += each.tolist()
        columns = {"target": np.array(targets), "class": np.array(names), "value": np.array(values)}
        return Table(columns, {"model": self._loaded.card.id, "weights": self.weights_digest})

    def _of_tiles(self, said: BagSaid, seen: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Return columns (n,) of all tiles; NaN for those that were not seen."""
        columns = {ATTENTION: said.attention}
        if said.tiles is not None:
            several = len(self._loaded.targets) > 1
            for target, classes, values in zip(
                self._loaded.targets, self._loaded.classes, said.tiles, strict=True
            ):
                lead = f"{target.column}_" if several else ""
                if target.kind == "regression":
                    columns[f"{lead}prediction"] = values[:, 0]
                else:
                    columns |= {f"{lead}probability_{name}": values[:, k] for k, name in enumerate(classes)}
        return {name: _spread(values, seen) for name, values in columns.items()}


@dataclass(frozen=True)
class AggregateCaseStage(_Model):
    """Predict a case from the features of all its slides in one bag: a row per case of the run.

    Parameters
    ----------
    model, weights_digest, encoder
        See `_Model`.

    Raises
    ------
    RecipeError, StoreError, UsageError
        When the model cannot be used.
    """

    name: ClassVar[str] = "aggregate-case"
    version: ClassVar[int] = 1

    def reads(self) -> tuple[str, ...]:
        """Return the key of the features."""
        return (f"features/{self.encoder}",)

    def writes(self) -> tuple[str, ...]:
        """Return nothing: what it makes is of cases."""
        return ()

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002
        """Make nothing of a single slide."""
        return {}

    def case(self, slides: Mapping[str, Mapping[str, Any]]) -> Mapping[str, float | int | str]:
        """Return what the model says of the case, a column per target and class."""
        from coverslip.learn.bags.bags import GAP

        found = [each[self.reads()[0]] for each in slides.values()]
        corners = np.cumsum([0, *(GAP + int(each.coords[:, 0].max(initial=0)) for each in found[:-1])])
        coords = [each.coords + np.array([x, 0]) for each, x in zip(found, corners.tolist(), strict=True)]
        joined = replace(
            found[0],
            X=np.concatenate([each.X for each in found]),
            coords=np.concatenate(coords).astype(np.int32),
        )
        for each in found[1:]:
            self._loaded.require(
                dim=each.X.shape[1], encoder=each.encoder, tile_px=each.tile_px or None, mpp=each.mpp
            )
        said, _ = self._say(joined)
        row: dict[str, float | int | str] = {"tiles": len(joined)}
        several = len(self._loaded.targets) > 1
        for target, classes, values in zip(
            self._loaded.targets, self._loaded.classes, said.said, strict=True
        ):
            lead = f"{target.column}_" if several else ""
            if target.kind == "regression":
                row[f"{lead}prediction"] = float(values[0])
                continue
            if target.kind != "multilabel":
                row[f"{lead}prediction"] = classes[int(values.argmax())]
            row |= {f"{lead}probability_{name}": float(v) for name, v in zip(classes, values, strict=True)}
        return row


def recipe_of_model(model: ModelFolder) -> Mapping[str, Any]:
    """Return the recipe that applies a model of bags: the stages that made its features, then aggregate.

    Raises
    ------
    RecipeError
        When the features it learned from were not made here, so that nobody knows how to make more.
    """
    card = model.card
    stages: list[dict[str, dict[str, Any]]] = [
        {name: dict(parameters) for name, parameters in stage.items()}
        for stage in card.preprocessing.get("stages", [])
    ]
    if not stages:
        raise RecipeError(
            f"{model.path} does not say how its features of {card.preprocessing.get('encoder')!r} were made",
            mend="write a recipe that makes such features, and aggregate: {model: FOLDER} at its end",
        )
    for stage in stages:
        if "tiles" in stage and card.mpp is not None:
            stage["tiles"]["mpp"] = card.mpp  # not the new slide's own
    of_case = card.preprocessing.get("bag") == "case"
    last = [{"aggregate": {"model": str(model.path)}}]
    last += [{"aggregate-case": {"model": str(model.path)}}] if of_case else []
    return {"name": card.id, "description": f"Apply {model.path}", "stages": [*stages, *last]}


def _spread(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    out = np.full(len(seen), np.nan)
    out[seen] = values
    return out


def _of_run(target: str, kind: str, tables: Mapping[str, Table]) -> Prediction:
    columns: dict[str, list[Any]] = {"slide": list(tables)}
    names: list[str] = []
    for table in tables.values():
        mine = table["target"] == target
        names = [str(name) for name in table["class"][mine]]
        values = np.asarray(table["value"][mine], np.float64)
        if kind == "regression":
            columns.setdefault("prediction", []).append(values[0])
            continue
        if kind != "multilabel":
            columns.setdefault("prediction", []).append(names[int(values.argmax())])
        for name, value in zip(names, values.tolist(), strict=True):
            columns.setdefault(f"probability_{name}", []).append(value)
    notes = {"kind": kind, "classes": [] if kind == "regression" else names, "target": target}
    return Prediction({name: np.asarray(values) for name, values in columns.items()}, notes)


def coarse(tiles: Tiles) -> Tiles:
    """Return the same tiles as squares of `TILE_PX` pixels, to paint one value on each."""
    factor = tiles.spec.size / TILE_PX
    step = max(1, round(tiles.spec.step / factor))
    spec = replace(tiles.spec, mpp=tiles.mpp * factor, size=TILE_PX, stride=step)
    return replace(tiles, spec=spec, mpp=tiles.mpp * factor, downsample=tiles.downsample * factor)


def _map(
    slide: Slide, tiles: Tiles, columns: Mapping[str, NDArray[np.float64]], seen: NDArray[np.bool_]
) -> MapStream:
    """Paint attention, relative to the highest, and each probability on the tiles."""
    shown = {
        name.removeprefix("probability_"): values
        for name, values in columns.items()
        if name == ATTENTION or "probability_" in name
    }
    values = np.stack(list(shown.values()), axis=1).astype(np.float32)
    values[:, 0] /= np.nanmax(values[:, 0])
    values = np.nan_to_num(values)

    def results(todo: NDArray[np.int64]) -> Any:
        for start in range(0, len(todo), AT_ONCE):
            index = todo[start : start + AT_ONCE]
            whole = np.broadcast_to(values[index][..., None, None], (*values[index].shape, TILE_PX, TILE_PX))
            yield index, np.ascontiguousarray(whole), ~seen[index]

    spec = MapSpec(tuple(shown), kind="probabilities", weight="uniform")
    return MapStream(slide, coarse(tiles), spec, results)
