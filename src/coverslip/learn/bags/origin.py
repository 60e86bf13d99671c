"""Which stages made the features of a run, so that a model can have them made alike for new slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coverslip.core.errors import StoreError
from coverslip.store import RunFolder

ROOT = ("slide", "thumbnail")
"""What the runner itself writes."""


def stages_behind(folder: Path, slide: str, encoder: str | None) -> list[dict[str, Any]]:
    """Return the stages that lead to a slide's features, in order, as a recipe lists them.

    Parameters
    ----------
    folder
        A run; of any other folder nothing is known.

    Returns
    -------
    ``[{stage: parameters}, …]``; empty when nobody knows.
    """
    try:
        run = RunFolder(folder)
        key = f"features/{encoder}"
        found: dict[str, dict[str, Any]] = {}
        _collect(run, slide, key, found)
    except StoreError:
        return []
    return [{name: parameters} for name, parameters in found.items()]


def _collect(run: RunFolder, slide: str, key: str, found: dict[str, dict[str, Any]]) -> None:
    """Add the stage that made `key`, after those that it stands on."""
    made = run.provenance(slide, key)
    for needed in made.inputs:
        if needed not in ROOT:
            _collect(run, slide, needed, found)
    found.setdefault(made.stage, dict(made.parameters))
