"""The whole path on phantom slides, found against known truth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coverslip.pipeline.execution import Execution
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.runner import Listener, RunResult, run_recipe
from coverslip.pipeline.sources import sources_of
from coverslip.store import RunFolder

ARTEFACTS = ("blur", "pen", "fold", "bubble")


SLIGHT = 0.01
"""An artefact on less of the tissue than this may be missed; a larger one must be seen at all."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of one slide: what the run found, and what the phantom knows.

    Attributes
    ----------
    agrees
        Whether found and truth are as near as the demo expects; the bounds stand in `compare`.
    """

    slide: str
    what: str
    found: str
    truth: str
    agrees: bool


@dataclass(frozen=True)
class DemoResult:
    """The run, and how it compares with the truth."""

    result: RunResult
    comparisons: tuple[Comparison, ...]

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.result.run.path_of(None, "report")


def run_demo(folder: str | Path, execution: Execution, listener: Listener | None = None) -> DemoResult:
    """Write phantom slides into ``folder/slides``, survey them into ``folder/run``, compare with the truth.

    Slides that are there already are not written again.
    """
    from coverslip.phantom import write_demo_set
    from coverslip.phantom.demo import DEMO_SET

    slides = Path(folder) / "slides"
    if not all((slides / f"{name}.truth.json").exists() for name in DEMO_SET):
        write_demo_set(slides)
    sources = sources_of([str(slides / f"{name}.svs") for name in DEMO_SET])
    recipe = Recipe.load("survey")
    result = run_recipe(recipe, sources, Path(folder) / "run", execution=execution, listener=listener)
    compared: list[Comparison] = []
    for outcome in result.outcomes:
        if outcome.status != "failed":
            truth = json.loads((slides / f"{outcome.slide}.truth.json").read_text(encoding="utf-8"))
            compared += compare(result.run, outcome.slide, truth)
    return DemoResult(result, tuple(compared))


def compare(run: RunFolder, slide: str, truth: Mapping[str, Any]) -> Iterator[Comparison]:
    """Hold a slide's results against the phantom's truth: tissue, stains, artefacts."""
    shapes = _shapes(truth)
    tissue = shapes["tissue"]
    found = _union(run.get(slide, "tissue").polygons)
    overlap = found.intersection(tissue).area / found.union(tissue).area
    facts = run.get(slide, "slide")
    square = facts["mpp_x"] * facts["mpp_y"] / 1e6
    yield Comparison(
        slide,
        "tissue",
        f"{found.area * square:.2f} mm², overlap (IoU) {overlap:.3f}",
        f"{tissue.area * square:.2f} mm²",
        overlap >= 0.88,
    )
    yield from _stains(run, slide, truth["phantom"]["stains"])
    quality = run.get(slide, "quality").summary
    for kind in ARTEFACTS:
        true = shapes[kind].intersection(tissue).area / tissue.area if kind in shapes else 0.0
        seen = quality[kind] > 0 or true < SLIGHT
        near = seen and abs(quality[kind] - true) <= 0.05
        yield Comparison(slide, kind, f"{quality[kind]:.1%} of tissue", f"{true:.1%}", near)


def _stains(run: RunFolder, slide: str, truth: Mapping[str, Any]) -> Iterator[Comparison]:
    stains = run.get(slide, "stain").stains
    for name, vector in zip(stains.names, stains.array, strict=True):
        true = np.asarray(truth[name], float)
        true /= np.linalg.norm(true)
        angle = float(np.degrees(np.arccos(np.clip(vector @ true, -1, 1))))
        yield Comparison(slide, name, f"{_vector(vector)}, {angle:.1f}° off", _vector(true), angle <= 6)


def _vector(values: Any) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values) + ")"


def _shapes(truth: Mapping[str, Any]) -> dict[str, Any]:
    from shapely.geometry import shape

    parts: dict[str, list[Any]] = {}
    for feature in truth["features"]:
        parts.setdefault(feature["properties"]["classification"]["name"], []).append(
            shape(feature["geometry"])
        )
    return {name: _union(polygons) for name, polygons in parts.items()}


def _union(polygons: Any) -> Any:
    import shapely

    return shapely.union_all([shapely.make_valid(polygon) for polygon in polygons])
