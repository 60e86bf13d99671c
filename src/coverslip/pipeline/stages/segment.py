"""Regions that a segmenter finds: probabilities, labels, and outlines with area and perimeter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import RecipeError
from coverslip.learn.segment.regions import Regions, RegionSpec, regions_of
from coverslip.models.pinned import pin
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.pipeline.stages.stain import require_stain_of
from coverslip.slides import Slide
from coverslip.store import Derived, MapStream, ObjectTable, StitchedMap
from coverslip.tiles import GridSpec, MapSpec, Tiles, place

if TYPE_CHECKING:
    from coverslip.models.folder import ModelFolder
    from coverslip.store.maps import Result

LABEL_TILE = 1024
"""Side of the tiles in which a map of labels is painted."""

MPP_SLACK = 0.05
"""How far the tiles' mpp may lie from the model's, as a share."""


@dataclass(frozen=True, kw_only=True)
class SegmentStage(RegionSpec):
    """Give every pixel of the tiles a class, with a model of ``coverslip train`` (``task: segment``).

    Writes ``maps/<model>`` (probabilities), ``maps/<model>-labels`` and ``objects/<model>``, the regions of
    all classes but the background. Tiles may overlap: they are blended with Gaussian weights.

    Parameters
    ----------
    model
        The model folder; or ``phantom-tissue``, which ships with Coverslip and serves phantoms only.
    model_digest
        SHA-256 of its weights. Filled in when not given; checked when given.
    margin
        Pixels read around each tile and thrown away; None for what was measured when the model was trained.
    flips
        Mean over the tile and its mirror images: four times the work.
    precision
        ``"f32"``, or ``"bf16"`` for bfloat16 arithmetic: faster on processors that have it.
    device, threads
        Where.
    batch
        Tiles at once; None for one on a CPU, which is fastest there, and four on a GPU.
    smallest_um2, fill_um2, smooth_um, tolerance_um, at_least
        See `coverslip.learn.segment.regions.RegionSpec`. The stage ``regions`` does this part anew.

    Raises
    ------
    StoreError
        When the model folder is not whole, or not that of `model_digest`.
    """

    name: ClassVar[str] = "segment"
    version: ClassVar[int] = 1

    model: str | None = None
    model_digest: str | None = None
    margin: int | None = None
    flips: bool = False
    precision: Literal["f32", "bf16"] = "f32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 2
    batch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model:
            pin(self, "model_digest", self._folder().digest, what=self.model)

    def reads(self) -> tuple[str, ...]:
        """Return the key of the tiles."""
        return ("tiles",)

    def writes(self) -> tuple[str, ...]:
        """Return the keys of probabilities, labels and regions."""
        name = self._folder().card.id if self.model else "segment"
        return (f"maps/{name}", f"maps/{name}-labels", f"objects/{name}")

    def classes(self) -> tuple[str, ...]:
        """Return the classes that ``within`` and ``where`` may name."""
        return self._folder().card.classes if self.model else ()

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Segment the tiles, after the strips that an earlier run left.

        Raises
        ------
        RecipeError
            When no model is named, or the tiles have another mpp than it was trained at.
        StainError
            When the slide shows another stain than its card names.
        GeometryError
            When the tiles do not fit the network: see `coverslip.learn.segment.infer.check_grid`.
        """
        from coverslip.learn.segment.infer import check_grid
        from coverslip.models.segmenters_run import spec_of

        tiles: Tiles = chosen(inputs, "tiles")
        folder, notes = self._folder(), list[str]()
        self._check_mpp(folder, tiles)
        require_stain_of(folder.card.id, folder.card.stain, slide, tiles)
        check_grid(tiles.spec, self._margin(folder), spec_of(folder.card).multiple)
        probabilities, labels, objects = self.writes()
        stream = MapStream(
            slide, tiles, MapSpec(folder.card.classes), self._results(folder, slide, tiles, notes)
        )
        found: list[Regions] = []

        def regions(done: Mapping[str, Any]) -> Regions:
            if not found:
                found.append(regions_of(done[probabilities], self))
            return found[0]

        background = folder.card.preprocessing.get("background")
        without = () if background is None else (background,)
        return {
            probabilities: stream,
            labels: Derived(lambda done: label_stream(slide, regions(done), tiles)),
            objects: Derived(lambda done: regions(done).table(without=without)),
            NOTES: notes,
        }

    def _folder(self) -> ModelFolder:
        if not self.model:
            raise RecipeError(
                "stage 'segment' names no model",
                mend="give the folder: --set STEP.model=RUN/models/NAME; phantom-tissue serves phantoms only",
            )
        return model_at(self.model)

    def _margin(self, folder: ModelFolder) -> int:
        return int(folder.card.preprocessing.get("margin_px", 0)) if self.margin is None else self.margin

    def _check_mpp(self, folder: ModelFolder, tiles: Tiles) -> None:
        wanted = folder.card.mpp
        if wanted is not None and abs(tiles.mpp / wanted - 1) > MPP_SLACK:
            raise RecipeError(
                f"{folder.card.id} was trained at {wanted:g} µm per pixel, these tiles have {tiles.mpp:g}",
                mend=f"lay the tiles anew: --set tiles.mpp={wanted:g} (or the step that lays them)",
            )

    def _results(
        self, folder: ModelFolder, slide: Slide, tiles: Tiles, notes: list[str]
    ) -> Callable[[NDArray[np.int64]], Iterator[Result]]:
        """Return what segments the tiles that are asked for."""

        def results(todo: NDArray[np.int64]) -> Iterator[Result]:
            from coverslip.learn.segment.infer import segmented
            from coverslip.models.segmenters_run import Segmenter

            if not len(todo):
                return
            options: dict[str, Any] = {"precision": self.precision, "device": self.device}
            segmenter = Segmenter.load(folder, threads=self.threads, flips=self.flips, **options)
            unread = 0
            wanted = tiles.take(todo)
            batch = self.batch or (4 if self.device == "cuda" else 1)
            for part in segmented(
                segmenter, slide, wanted, margin=self._margin(folder), batch=batch, threads=self.threads
            ):
                unread += int(part.missing.sum())
                notes.extend(error for error in part.errors if error not in notes)
                yield todo[part.index], part.probabilities, part.missing
            if unread:
                notes.insert(0, f"{unread} of {len(todo)} tiles could not be read and have no class")

        return results


@dataclass(frozen=True, kw_only=True)
class RegionsStage(RegionSpec):
    """Outline the regions of a map anew, with other settings; the network does not run again.

    Writes ``objects/<of>-regions`` and ``maps/<of>-regions``.

    Parameters
    ----------
    of
        Name of the map of probabilities, as in ``maps/<of>``.
    without
        Classes that make no objects; the background, say.
    smallest_um2, fill_um2, smooth_um, tolerance_um, at_least
        See `coverslip.learn.segment.regions.RegionSpec`.
    """

    name: ClassVar[str] = "regions"
    version: ClassVar[int] = 1

    of: str = "segment"
    without: tuple[str, ...] = ()

    def reads(self) -> tuple[str, ...]:
        """Return the keys of map and tiles."""
        return (f"maps/{self.of}", "tiles")

    def writes(self) -> tuple[str, ...]:
        """Return the keys of regions and labels."""
        return (f"objects/{self.of}-regions", f"maps/{self.of}-regions")

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Outline the regions."""
        objects, labels = self.writes()
        stored: StitchedMap = chosen(inputs, self.reads()[0])
        found = regions_of(stored, self)
        table: ObjectTable = found.table(without=self.without)
        return {objects: table, labels: label_stream(slide, found, chosen(inputs, "tiles"))}


def label_stream(slide: Slide, regions: Regions, tiles: Tiles) -> MapStream:
    """Return the labels of regions, painted by the area rule in squares that some region touches."""
    import shapely

    step = LABEL_TILE * tiles.downsample
    columns, rows = (-(-side // step) for side in slide.size)
    corners = np.array([(c, r) for r in range(int(rows)) for c in range(int(columns))], np.float64)
    corners = np.floor(corners * step + 0.5).reshape(-1, 2)
    tree = shapely.STRtree(regions.polygons)
    boxes = shapely.box(*corners.T, *(corners + step).T)
    touched = np.unique(tree.query(boxes, predicate="intersects")[0])
    spec = GridSpec(mpp=tiles.mpp, size=LABEL_TILE, min_tissue=0, edge="pad")
    squares = place(slide, corners[touched], spec)

    def results(todo: NDArray[np.int64]) -> Iterator[Result]:
        for index in todo.tolist():
            near = tree.query(boxes[touched[index]], predicate="intersects")
            painted = _painted(regions, near, squares, index)
            yield np.array([index]), painted[None], np.zeros(1, np.bool_)

    return MapStream(slide, squares, MapSpec(regions.classes, kind="labels", weight="uniform"), results)


def _painted(regions: Regions, near: NDArray[np.int64], squares: Tiles, index: int) -> NDArray[np.uint8]:
    from coverslip.annotations import IGNORE, Annotations, Grid, Shape, rasterise
    from coverslip.core import Size

    names = {name: label for label, name in enumerate(regions.classes, 1)}
    shapes = tuple(
        Shape(str(i), "polygon", regions.polygons[i], regions.classes[regions.labels[i]])
        for i in near.tolist()
    )
    x, y = squares.xy[index].tolist()
    grid = Grid(Size(LABEL_TILE, LABEL_TILE), squares.downsample, (x, y))
    labels = rasterise(Annotations(shapes), grid, classes=names)
    return np.where(labels == IGNORE, 0, labels).astype(np.uint8)


def model_at(path: str) -> ModelFolder:
    """Open a model folder, checked; again only when its files have changed.

    A runner asks a stage many times what it writes, and the check reads all weights.
    """
    from coverslip.models.folder import CARD, WEIGHTS, located

    files = [located(path) / name for name in (CARD, WEIGHTS)]
    return _model_at(path, tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files))


@lru_cache(maxsize=16)
def _model_at(path: str, _changed: tuple[int, ...]) -> ModelFolder:
    from coverslip.models.folder import ModelFolder

    return ModelFolder.load(path)


def recipe_of_model(model: ModelFolder) -> dict[str, Any]:
    """Return the recipe that applies a segmenter: tissue, tiles as its network takes them, regions."""
    from coverslip.learn.segment.infer import suggested_grid
    from coverslip.models.segmenters_run import spec_of

    if model.card.mpp is None:
        raise RecipeError(f"{model.path} does not say at which mpp it was trained", mend="train it again")
    grid = suggested_grid(model.card.mpp, spec_of(model.card).multiple)
    layout = {field.name: getattr(grid, field.name) for field in fields(GridSpec)}
    # a sliver of tissue is reason enough to look at a tile
    tiles = {**layout, "min_tissue": 0.01, "quality": False}
    speckles = {"smallest_um2": 250 * model.card.mpp**2, "fill_um2": 250 * model.card.mpp**2}
    segment = {"model": str(model.path), **speckles, "tolerance_um": model.card.mpp / 2}
    return {
        "name": model.card.id,
        "description": f"Regions of {', '.join(model.card.classes)}.",
        "stages": ["tissue", {"tiles": tiles}, {"segment": segment}],
    }
