"""What must stand beside everything that a model says: which one, trained on what, how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coverslip.core.errors import CoverslipError, StoreError, UsageError
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.seen import Floats, Seen, looks_of
from coverslip.server.cache import WeighedCache
from coverslip.server.library import Entry, Library, located
from coverslip.store import Provenance, RunFolder

USE = "for research use only"

LOOKS_KEPT = 4 << 20
"""Bytes of looks of slides that are kept."""

LEAST_ROWS = 20
"""Rows that no fold trained on, from which a calibration is fitted."""


class Statements:
    """Statements about the models of a library's runs. Safe to use from several threads.

    Parameters
    ----------
    library
        The slides and their runs.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._looks = WeighedCache[Floats](LOOKS_KEPT)
        self._cards: dict[tuple[str, int], FolderCard] = {}
        self._temperatures: dict[tuple[str, str], dict[str, Any] | None] = {}

    def of(self, slide: str, key: str, *, whole_run: bool) -> dict[str, Any]:
        """Return the statement of the model behind a result.

        Parameters
        ----------
        key
            Of the result, e.g. ``predictions/grade``.
        whole_run
            True when it is one of the run, not of the slide alone.

        Returns
        -------
        dict
            ``model`` (name, version, task, stage), ``mpp``, ``trained_on``, ``stain``, ``licence``,
            ``unlike`` (``is``: True, False, or None for unknown; ``distance``, ``limit``, ``why``), ``use``.
        """
        entry = self._library.entry(slide)
        if entry.run is None:
            raise StoreError(f"{slide} belongs to no run", mend="view a run instead of a slide")
        made = entry.run.provenance(None if whole_run else slide, key)
        found = self._card(made, entry.run)
        if isinstance(found, str):
            return {**_plain(made), "unlike": _unknown(found), "use": USE}
        return {**_plain(made), **_said(found, made), "unlike": self._unlike(entry, found), "use": USE}

    def calibrated(self, slide: str, key: str, chances: Mapping[str, float]) -> dict[str, Any] | None:
        """Return the probabilities of a slide as often right as they say; None where that is not known.

        A temperature is fitted to what the folds' models said of slides that did not train them, as the run
        holds it in which the model was trained.
        """
        entry = self._library.entry(slide)
        made = None if entry.run is None else entry.run.provenance(None, key)
        place = None if made is None or entry.run is None else _place(made, entry.run)
        found = None if place is None else self._temperature(place, key.partition("/")[2])
        if found is None or set(found["classes"]) != set(chances):
            return None
        from coverslip.evaluate import Temperature

        given = np.array([[chances[name] for name in found["classes"]]])
        if not np.isclose(given.sum(), 1, atol=1e-3):  # several labels at once: no one confidence
            return None
        right = Temperature(found["temperature"]).apply(given / given.sum())[0]
        return {
            "probabilities": dict(zip(found["classes"], right.tolist(), strict=True)),
            "confidence": float(right.max()),
            "method": f"temperature {found['temperature']:.2f}, fitted on {found['rows']} rows held back",
        }

    # ------------------------------------------------------------------ cards
    def _card(self, made: Provenance, run: RunFolder) -> FolderCard | str:
        """Return the card of the model that made a result, or why there is none."""
        place = _place(made, run)
        if place is None:
            return f"the stage {made.stage} has no model with a card"
        try:
            stamp = (place / "card.json").stat().st_mtime_ns
            key = (str(place), stamp)
            if key not in self._cards:
                self._cards[key] = ModelFolder.load(place).card
        except (CoverslipError, OSError) as error:
            return f"the model's card cannot be read: {error}"
        card = self._cards[key]
        if made.parameters.get("digest") not in (None, card.weights_sha256):
            return "another model lies where the one lay that made this"
        return card

    def _temperature(self, model: Path, target: str) -> dict[str, Any] | None:
        key = (str(model), target)
        if key not in self._temperatures:
            self._temperatures[key] = _fitted(model, target)
        return self._temperatures[key]

    # ------------------------------------------------------------------ likeness
    def _unlike(self, entry: Entry, card: FolderCard) -> dict[str, Any]:
        kept = card.trained_on.get("seen")
        seen = None if kept is None else Seen.from_dict(kept)
        if seen is None:
            return _unknown("the model's card does not say how its training slides look")
        try:
            likeness = seen.judge(self._look(entry.id, seen))
        except (CoverslipError, OSError) as error:
            return _unknown(f"the slide cannot be looked at: {error}")
        why = f"most of all its {likeness.most}, against {seen.slides} training slides"
        return {"is": likeness.is_unlike, "distance": likeness.distance, "limit": likeness.limit, "why": why}

    def _look(self, slide: str, seen: Seen) -> Floats:
        with self._library.use(slide) as pyramid:
            key = (slide, seen.mpp, seen.tile_px, id(pyramid))
            found = self._looks.get(key)
            if found is None:
                found = looks_of(pyramid.slide, mpp=seen.mpp, tile_px=seen.tile_px)
                self._looks.put(key, found, found.nbytes)
        return found


def _plain(made: Provenance) -> dict[str, Any]:
    """Return what the result itself says, where no card does."""
    name = str(made.parameters.get("encoder") or made.parameters.get("model") or made.stage)
    model = {"name": Path(name).name, "version": f"{made.stage} {made.stage_version}", "stage": made.stage}
    return {
        "model": {**model, "coverslip": made.coverslip, "time": made.time},
        "mpp": made.parameters.get("mpp"), "trained_on": None, "stain": None, "licence": None,
    }  # fmt: skip


def _said(card: FolderCard, made: Provenance) -> dict[str, Any]:
    model = _plain(made)["model"]
    digest = card.weights_sha256.removeprefix("sha256:")[:12]
    named = {"name": card.id, "version": digest, "task": card.task, "architecture": card.architecture}
    return {
        "model": {**model, **named},
        "mpp": card.mpp,
        "trained_on": trained_on(card.trained_on),
        "stain": card.stain,
        "licence": card.licence,
    }


def trained_on(said: Mapping[str, Any]) -> str | None:
    """Return what a card says of its training data, in words.

    Examples
    --------
    >>> trained_on({"cohort": "lung.csv", "rows": 48, "digest": "sha256:0123456789abcdef"})
    'lung.csv, 48 rows, 0123456789ab'
    """
    name = said.get("cohort") or said.get("name")
    counts = [f"{said[what]} {what}" for what in ("slides", "bags", "pictures", "rows") if what in said]
    digest = str(said.get("digest", "")).removeprefix("sha256:")[:12]
    parts = [str(name) if name else "", ", ".join(counts[:1]), digest]
    return ", ".join(part for part in parts if part) or None


def _unknown(why: str) -> dict[str, Any]:
    return {"is": None, "distance": None, "limit": None, "why": why}


def _place(made: Provenance, run: RunFolder) -> Path | None:
    given = made.parameters.get("model")
    found = located(str(given), run) if given else None
    return Path(found) if found is not None and Path(found).is_dir() else None


def _fitted(model: Path, target: str) -> dict[str, Any] | None:
    """Fit a temperature on what the run of the training holds, of the model's own target."""
    from coverslip.evaluate import Temperature
    from coverslip.evaluate.tables import read_predictions

    run = next((folder for folder in model.resolve().parents if (folder / "run.json").is_file()), None)
    if run is None:
        return None
    try:
        told = read_predictions(run, target=target)
        if told.kind not in ("binary", "multiclass") or len(told) < LEAST_ROWS:
            return None
        codes = np.array([told.classes.index(str(name)) for name in told.truth])
        temperature = Temperature.fit(codes, told.said).value
    except (CoverslipError, UsageError, ValueError):  # no truth, one class only, all right: nothing to fit
        return None
    return {"temperature": temperature, "classes": told.classes, "rows": len(told)}


def suggestion(statements: Statements, slide: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model says of a slide, with its statement and its calibrated confidence."""
    key = f"predictions/{said['target']}"
    states = statements.of(slide, key, whole_run=True)
    right = statements.calibrated(slide, key, said["probabilities"])
    return {**said, **states, "calibrated": right}


def listed(statements: Statements, slide: str, run: RunFolder | None) -> list[dict[str, Any]]:
    """Return the statement of every model that made a result of a slide, with the results' names."""
    found: dict[str, dict[str, Any]] = {}
    for key in () if run is None else run.keys(slide):
        head, slash, name = key.partition("/")
        if not slash or head not in ("maps", "objects", "predictions"):
            continue
        states = statements.of(slide, key, whole_run=False)
        mark = f"{states['model']['name']} {states['model']['version']}"
        found.setdefault(mark, {**states, "results": []})["results"].append(f"{head}/{name}")
    return list(found.values())
