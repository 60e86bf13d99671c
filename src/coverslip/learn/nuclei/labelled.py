"""Nuclei that somebody gave a class: read, found again by the network, and matched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import Annotations
from coverslip.core.errors import CoverslipError, UsageError
from coverslip.learn.segment.drawn import COLUMN, folder_of
from coverslip.learn.told import Listen, Told
from coverslip.models.nuclei.detector import NucleiNetworkDetector
from coverslip.models.nuclei.features import names_of
from coverslip.models.nuclei.slide import found_on_slide, placed
from coverslip.slides import open_slide
from coverslip.tiles import GridSpec, lay

if TYPE_CHECKING:
    from coverslip.cohort import Cohort
    from coverslip.slides import Slide
    from coverslip.tiles import Tiles

SIDE = 512
"""Pixels of a side of the tiles in which labelled nuclei are looked for."""

OBJECTS = ".parquet"
"""Ending of the objects of a run."""


@dataclass(frozen=True, eq=False)
class Given:
    """What somebody said of the nuclei of a slide.

    Attributes
    ----------
    shapes
        Shapely points and polygons in level-0 pixels, (n,).
    classes
        Name of the class of each.
    """

    shapes: NDArray[Any]
    classes: tuple[str, ...]

    def count(self, name: str) -> int:
        """Return how many are of a class."""
        return self.classes.count(name)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Nuclei with a class.

    Attributes
    ----------
    features
        float32 (n, d): see `coverslip.models.nuclei.features`.
    labels
        (n,), index into the classes.
    slides
        (n,), row of the cohort.
    notes
        ``labels_unmatched``: labels in which no nucleus was found; ``nuclei_ambiguous``: nuclei that were
        left out because labels contradict each other.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    slides: NDArray[np.int64]
    notes: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, rows: Sequence[int]) -> Labelled:
        """Return the nuclei of some slides."""
        keep = np.isin(self.slides, rows)
        return replace(self, features=self.features[keep], labels=self.labels[keep], slides=self.slides[keep])


def read_given(cohort: Cohort, classes: Sequence[str], rename: Mapping[str, str]) -> list[Given]:
    """Read the labels of every slide of a cohort.

    Raises
    ------
    UsageError
        With all problems of all slides, each named.
    """
    if COLUMN not in cohort.columns:
        raise UsageError(
            f"{cohort.name} has no column {COLUMN}: expected the file of each slide's labelled nuclei",
            mend=f"add a column {COLUMN}: GeoJSON, XML … or the objects of a run (.parquet)",
        )
    found: list[Given] = []
    problems: list[str] = []
    for source, name in zip(cohort.to_sources(), cohort.column(COLUMN).tolist(), strict=True):
        file = folder_of(cohort) / name
        try:
            if not file.is_file():
                raise UsageError(f"its labels {file} are not there", mend="check the path")
            with open_slide(source.path, mpp=source.mpp) as slide:
                found.append(_given(file, slide, classes, rename))
        except CoverslipError as error:
            problems.append(f"{source.id}: {error}")
    if problems:
        listed = "".join(f"\n  {number}. {text}" for number, text in enumerate(problems, 1))
        raise UsageError(f"{len(problems)} of {len(cohort)} slides cannot be learned from:{listed}\n")
    return found


def _given(file: Path, slide: Slide, classes: Sequence[str], rename: Mapping[str, str]) -> Given:
    if file.suffix.lower() == OBJECTS:
        from coverslip.store import Objects

        objects = Objects(file).read()
        names = [rename.get(name, name) for name in objects["class"].tolist()]
        pairs = list(zip(objects.polygons.tolist(), names, strict=True))
        strange = sorted({str(name) for name in names} - set(classes))
        if strange:
            raise UsageError(f"{file} has classes {', '.join(strange)}: expected {', '.join(classes)}")
    else:
        drawn = Annotations.read(file, slide=slide).renamed(rename).checked(slide=slide, classes=classes)
        pairs = [
            (part, str(shape.class_name))
            for shape in drawn.shapes
            for part in getattr(shape.geometry, "geoms", (shape.geometry,))
            if part.geom_type in ("Point", "Polygon") and shape.class_name is not None
        ]
    if not pairs:
        raise UsageError(f"{file} gives no class to a point or an outline", mend="label some nuclei")
    shapes = np.empty(len(pairs), object)
    shapes[:] = [shape for shape, _ in pairs]
    return Given(shapes, tuple(name for _, name in pairs))


def labelled_nuclei(
    cohort: Cohort,
    given: Sequence[Given],
    detector: NucleiNetworkDetector,
    how: tuple[Sequence[str], int],
    listen: Listen,
) -> Labelled:
    """Find the nuclei that labels are of, slide by slide.

    Parameters
    ----------
    how
        The classes, and the network's threads.

    Raises
    ------
    UsageError
        When no label has a nucleus.
    """
    import torch

    classes, threads = how
    seeing, before = replace(detector, describes=True), torch.get_num_threads()
    parts: list[Labelled] = []
    torch.set_num_threads(threads)
    try:
        for row, (source, labels) in enumerate(zip(cohort.to_sources(), given, strict=True)):
            listen(Told("finding nuclei of slides", row, len(cohort)))
            with open_slide(source.path, mpp=source.mpp) as slide:
                parts.append(_of_slide(slide, labels, seeing, classes, row))
    finally:
        torch.set_num_threads(before)
    names = ("labels_unmatched", "nuclei_ambiguous")
    notes = {name: sum(part.notes[name] for part in parts) for name in names}
    joined = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "labels", "slides")
    )
    found = Labelled(*joined, notes=notes)
    if not len(found):
        raise UsageError(
            "no nucleus was found where the labels are",
            mend="look at the scale of the slides, and at the labels",
        )
    return found


def _of_slide(
    slide: Slide, given: Given, detector: NucleiNetworkDetector, classes: Sequence[str], row: int
) -> Labelled:
    tiles = _tiles(slide, given, detector.mpp)
    polygons, features = [], []
    for part in found_on_slide(detector, slide, tiles):
        for own in part:
            polygons.append(placed(own))
            features.append(own.found.features)
    outlines = np.concatenate([np.empty(0, object), *polygons])
    number, met, unsure = _matched(outlines, given, classes)
    kept = number >= 0
    wide = len(names_of(detector.network.widths))
    seen = np.concatenate([np.empty((0, wide), np.float32), *features])[kept]
    notes = {"labels_unmatched": int((~met).sum()), "nuclei_ambiguous": unsure}
    return Labelled(seen, number[kept], np.full(int(kept.sum()), row), notes)


def _tiles(slide: Slide, given: Given, mpp: float) -> Tiles:
    """Return the tiles on which labels lie."""
    import shapely

    tiles = lay(slide, GridSpec(mpp=mpp, size=SIDE, edge="pad"))
    low = tiles.xy.astype(np.float64)
    boxes = shapely.box(*low.T, *(low + tiles.side_px).T)
    which = shapely.STRtree(boxes).query(given.shapes, predicate="intersects")[1]
    return tiles.take(np.unique(which))


def _matched(
    outlines: NDArray[Any], given: Given, classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Return the class of each nucleus (-1: none), whether each label met one, and how many are ambiguous."""
    import shapely

    named = np.array([classes.index(name) for name in given.classes])
    areal = shapely.get_type_id(given.shapes) == shapely.GeometryType.POLYGON
    points, areas = np.flatnonzero(~areal), np.flatnonzero(areal)
    centres = shapely.centroid(outlines)
    in_nucleus = shapely.STRtree(outlines).query(given.shapes[points], predicate="intersects")
    in_label = shapely.STRtree(centres).query(given.shapes[areas], predicate="intersects")
    label = np.concatenate([points[in_nucleus[0]], areas[in_label[0]]])
    nucleus = np.concatenate([in_nucleus[1], in_label[1]])
    votes = np.zeros((len(outlines), len(classes)), bool)
    votes[nucleus, named[label]] = True
    said = votes.sum(axis=1)
    met = np.zeros(len(named), bool)
    met[label] = True
    return np.where(said == 1, votes.argmax(axis=1), -1), met, int((said > 1).sum())
