"""What a run holds of a slide, opened when it is first looked at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError, UnknownNameError
from coverslip.server.library import Entry, Library
from coverslip.server.overlays.maps import MapLayer
from coverslip.server.overlays.objects import ObjectIndex
from coverslip.store import Prediction, RunFolder
from coverslip.store.kinds.objects import Objects

KEPT = 6
"""Layers that are kept open; an index of a million objects takes about 60 MB."""

ROUTINE = frozenset({"background", "benign", "normal", "stroma", "other", "none", "negative"})
"""Classes that are nobody's first suspicion."""


class Overlays:
    """Layers over the slides of a library.

    Parameters
    ----------
    library
        The slides.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self._lock = Lock()

    def listed(self, slide: str) -> dict[str, Any]:
        """Return what there is, by kind."""
        entry = self._library.entry(slide)
        keys = () if entry.run is None else entry.run.keys(slide)
        named: dict[str, list[str]] = {"maps": [], "objects": [], "predictions": [], "features": []}
        for key in keys:
            head, slash, name = key.partition("/")
            if slash and head in named:
                named[head].append(name)
        maps, problems = [], []
        for name in named.pop("maps"):
            try:
                maps.append(self.map(slide, name).to_dict())
            except StoreError as error:  # one map that cannot be shown does not hide the others
                problems.append(str(error))
        there = {key: key in keys for key in ("tissue", "tiles", "quality")}
        return {"maps": maps, **named, **there, "problems": problems}

    def map(self, slide: str, name: str) -> MapLayer:
        """Return a map.

        Raises
        ------
        UnknownNameError
            When the run holds none of that name.
        """
        run, key = self._run(slide, f"maps/{name}")
        path = run.path_of(slide, key)
        layer: MapLayer = self._once((slide, key), path.stat().st_mtime_ns, lambda: MapLayer.open(path, name))
        return layer

    def objects(self, slide: str, name: str) -> ObjectIndex:
        """Return the index of a slide's objects.

        Raises
        ------
        UnknownNameError
            When the run holds none of that name.
        StoreError
            When they have no outlines.
        """
        run, key = self._run(slide, f"objects/{name}")

        def opened() -> ObjectIndex:
            found = run.get(slide, key)
            if not isinstance(found, Objects):
                raise StoreError(f"{key} of {slide} are of an old version, without outlines", mend="run anew")
            return ObjectIndex(found)

        index: ObjectIndex = self._once((slide, key), run.path_of(slide, key).stat().st_mtime_ns, opened)
        return index

    def tissue(self, slide: str) -> dict[str, Any]:
        """Return the tissue as GeoJSON."""
        import shapely

        run, key = self._run(slide, "tissue")
        shape = shapely.MultiPolygon(list(run.get(slide, key).polygons))
        return {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}

    def grid(self, slide: str, name: str | None) -> dict[str, Any]:
        """Return where the tiles lie, and what a prediction says of each."""
        run, key = self._run(slide, "tiles")
        tiles = run.get(slide, key)
        found: dict[str, Any] = {"xy": tiles.xy.tolist(), "side": float(tiles.side_px)}
        if name is not None:
            run, key = self._run(slide, f"predictions/{name}")
            prediction: Prediction = run.get(slide, key)
            found["names"] = list(prediction.names)
            found["labels"] = np.asarray(prediction.labels).astype(int).tolist()
        return found

    def suspicious(self, slide: str, limit: int) -> list[dict[str, Any]]:
        """Return the tiles of greatest probability of a class that is no routine, over all predictions."""
        entry = self._library.entry(slide)
        if entry.run is None or not entry.run.has(slide, "tiles"):
            return []
        found: list[dict[str, Any]] = []
        for key in entry.run.keys(slide):
            if key.startswith("predictions/"):
                found += ranked(entry.run.get(slide, key), key.partition("/")[2])
        found.sort(key=lambda one: -one["score"])
        tiles = entry.run.get(slide, "tiles")
        return [placed(one, tiles) for one in found[:limit]]

    def suggestion(self, slide: str) -> dict[str, Any] | None:
        """Return what a model of the run says of the slide as a whole, and all that a reader must know of it.

        None when the run holds no prediction of slides.
        """
        entry = self._library.entry(slide)
        for key in () if entry.run is None else entry.run.keys(None):
            if key.startswith("predictions/"):
                found = said_of(entry.run, key, slide)
                if found is not None:
                    return found
        return None

    # ------------------------------------------------------------------ opening
    def _run(self, slide: str, key: str) -> tuple[RunFolder, str]:
        entry: Entry = self._library.entry(slide)
        if entry.run is None or not entry.run.has(slide, key):
            there = () if entry.run is None else entry.run.keys(slide)
            raise UnknownNameError(
                f"there is no {key} of {slide}",
                mend=f"there are: {', '.join(there)}" if there else "view a run instead of a slide",
            )
        return entry.run, key

    def _once(self, name: tuple[str, str], stamp: int, make: Callable[[], Any]) -> Any:
        key = (*name, stamp)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made


def chances_of(table: Any) -> dict[str, NDArray[np.float64]]:
    """Return the probabilities of a prediction by class: its columns ``p_…`` or ``probability_…``."""
    found = {}
    for name, values in table.columns.items():
        prefix, _, label = name.partition("_")
        if prefix in ("p", "probability") and label:
            found[label] = np.asarray(values, float)
    return found


def said_of(run: RunFolder, key: str, slide: str) -> dict[str, Any] | None:
    """Return the row of a slide in a prediction of slides, with the model that made it; None without one."""
    table = run.get(None, key)
    names = [str(name) for name in table.columns.get("slide", ())]
    if slide not in names:
        return None
    row = names.index(slide)
    chances = {
        name: float(values[row]) for name, values in chances_of(table).items() if np.isfinite(values[row])
    }
    if not chances:
        return None
    made = run.provenance(None, key)
    label = max(chances, key=lambda one: chances[one])
    return {
        "label": label,
        "confidence": chances[label],
        "probabilities": chances,
        "target": key.partition("/")[2],
        "model": made.to_dict(),
        "notes": dict(table.notes),
        "use": "for research use only",
    }


def ranked(prediction: Any, name: str) -> list[dict[str, Any]]:
    """Return the rows of a prediction by suspicion: probability of the likeliest class that is no routine.

    A prediction without probabilities says nothing here.
    """
    columns = chances_of(prediction)
    telling = {label: values for label, values in columns.items() if label.lower() not in ROUTINE}
    if not telling:
        return []
    labels = list(telling)
    table = np.stack([np.nan_to_num(telling[label], nan=-1) for label in labels])
    best, score = table.argmax(axis=0), table.max(axis=0)
    rows = np.argsort(-score)[:200]
    return [
        {"row": int(row), "score": float(score[row]), "class": labels[best[row]], "model": name}
        for row in rows
        if score[row] > 1 / max(2, len(columns))
    ]


def placed(one: dict[str, Any], tiles: Any) -> dict[str, Any]:
    """Return a finding with its box in level-0 pixels and the reason in words."""
    x, y = (float(v) for v in tiles.xy[one["row"]])
    why = f"{one['model']}: {one['class']} {one['score']:.0%}"
    side = float(tiles.side_px)
    return {**one, "x": x, "y": y, "width": side, "height": side, "why": why}
