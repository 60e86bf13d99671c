"""What is made of a run as a whole once all slides are through: cases, and pages of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from coverslip.core.errors import RecipeError, StoreError
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.slide_run import Outcome, failure_of
from coverslip.pipeline.stage import Casewise, Finishing, Stage
from coverslip.pipeline.step import core_of, said_of
from coverslip.store import Event, Prediction, Provenance, RunFolder, fingerprint


def finish(run: RunFolder, recipe: Recipe, done: Sequence[Outcome]) -> tuple[Event, ...]:
    """Let stages make what they make of the whole run, unless that is there and holds.

    Returns
    -------
    What failed; one failure keeps no other stage back.
    """
    failures = []
    for stage in recipe.stages:
        if isinstance(core_of(stage), Finishing | Casewise):
            made = _provenance_of_run(run, stage, done)
            try:
                _finish(run, stage, made, {o.slide for o in done if o.failure is not None})
            except Exception as error:  # noqa: BLE001 - the runner's boundary, for the run as a whole
                event = failure_of(error, None, stage.name)
                run.log(event)
                failures.append(event)
    return tuple(failures)


def _finish(run: RunFolder, stage: Stage, made: Provenance, failed: Set[str]) -> None:
    if any(run.fingerprint(None, key) == made.fingerprint for key in run.keys(None)):
        return
    inner = core_of(stage)
    if isinstance(inner, Finishing):
        found = dict(inner.finish(run))
    else:
        found = {f"predictions/{stage.name}": table_of_cases(run, stage, failed)}
    for key, value in found.items():
        run.put(None, key, value, provenance=made, replace=True)


def _provenance_of_run(run: RunFolder, stage: Stage, done: Sequence[Outcome]) -> Provenance:
    """Make it depend on each slide's own results of the stage, on cases, and on what failed and why."""
    inputs = {}
    failures = {
        o.slide: fingerprint(o.failure.stage, o.failure.message) for o in done if o.failure is not None
    }
    for slide in run.slides():
        for key in stage.writes() or stage.reads():
            inputs[f"{slide}/{key}"] = failures.get(slide) or run.fingerprint(slide, key) or "none"
    if isinstance(core_of(stage), Casewise):
        inputs["cases"] = fingerprint(cases_of(run))
    return Provenance.make(stage.name, stage.version, parameters=said_of(stage), inputs=inputs, slide=None)


# ------------------------------------------------------------------ cases
def cases_of(run: RunFolder) -> dict[str, list[str]]:
    """Return the slides of each case; a slide of which no case is known is a case of its own."""
    cases: dict[str, list[str]] = {}
    known = {slide["id"]: slide.get("case") for slide in run.info.get("slides", ())}
    for slide in run.slides():
        cases.setdefault(known.get(slide) or slide, []).append(slide)
    return cases


def table_of_cases(run: RunFolder, stage: Stage, failed: Set[str] = frozenset()) -> Prediction:
    """Return a row per case: ``case``, ``slides``, ``missing`` (slides without results), and the stage's own.

    A case none of whose slides got through has NaN, and empty text.
    """
    rows: dict[str, dict[str, Any]] = {}
    for case, slides in cases_of(run).items():
        read = {slide: _read(run, stage, slide) for slide in slides if slide not in failed}
        there = {slide: found for slide, found in read.items() if found is not None}
        counts = {"slides": len(there), "missing": len(slides) - len(there)}
        said = dict(_casewise(stage).case(there)) if there else {}
        rows[case] = {"case": case, **counts, **said}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    columns = {name: np.asarray(_filled([row.get(name) for row in rows.values()])) for name in names}
    return Prediction(columns, {"names": []})


def _casewise(stage: Stage) -> Casewise:
    inner = core_of(stage)
    if not isinstance(inner, Casewise):
        raise RecipeError(f"stage {stage.name!r} is none of cases", mend="give it a method case")
    return inner


def _read(run: RunFolder, stage: Stage, slide: str) -> Mapping[str, Any] | None:
    """Return what the stage reads of a slide by the stage's own keys, or None when something is not there."""
    links = getattr(stage, "links", {})
    try:
        return {key: run.get(slide, links.get(key, key)) for key in core_of(stage).reads()}
    except StoreError:
        return None


def _filled(values: list[Any]) -> list[Any]:
    text = any(isinstance(value, str) for value in values)
    return [("" if text else float("nan")) if value is None else value for value in values]
