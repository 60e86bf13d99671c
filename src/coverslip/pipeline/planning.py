"""What a run would do, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coverslip.core.errors import SlideError
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.record import OPENING, provenances
from coverslip.pipeline.slide_run import same_slide
from coverslip.slides import SlideSource
from coverslip.store import RunFolder
from coverslip.store.folder import RUN_JSON


def left_to_do(
    recipe: Recipe, sources: Sequence[SlideSource], folder: str | Path | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the stages that would run, by slide id; no slide's pixels are read.

    Parameters
    ----------
    folder
        A run; None, or a folder that is not there yet, means that everything is left to do.

    Raises
    ------
    StoreError
        When the folder holds a run of a later version.
    """
    there = folder is not None and (Path(folder) / RUN_JSON).exists()
    run = RunFolder(Path(folder)) if there and folder is not None else None
    return {source.id: _left(run, recipe, source) for source in sources}


def _left(run: RunFolder | None, recipe: Recipe, source: SlideSource) -> tuple[str, ...]:
    records = (OPENING, *recipe.records())
    try:
        root = run.root(source.id) if run is not None and same_slide(run, source) else None
    except SlideError:
        root = None
    if run is None or root is None:
        return tuple(record.name for record in records)
    wanted = provenances(records[1:], root)
    return tuple(
        record.name
        for record in records
        if any(run.fingerprint(source.id, key) != wanted[record.name].fingerprint for key in record.writes)
    )
