"""What a run holds of a slide, opened when it is first looked at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from coverslip.core.errors import StoreError, UnknownNameError
from coverslip.server.library import Entry, Library
from coverslip.server.overlays.maps import MapLayer
from coverslip.server.overlays.objects import ObjectIndex
from coverslip.server.overlays.paint import class_colour
from coverslip.server.overlays.tilewise import Tilewise, chances_of
from coverslip.store import RunFolder
from coverslip.store.kinds.objects import Objects

KEPT = 32
"""Layers that are kept open besides objects."""

INDEXED = 4
"""Slides whose objects are kept; an index of a million takes about 150 MB with the outlines that it holds."""


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
        self._making: dict[tuple[str, str, int], Lock] = {}
        self._lock = Lock()

    def listed(self, slide: str, *, withheld: bool = False) -> dict[str, Any]:
        """Return what there is, by kind; without what models found where that is withheld."""
        entry = self._library.entry(slide)
        keys = () if entry.run is None else entry.run.keys(slide)
        keys = tuple(key for key in keys if not withheld or "/" not in key)
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
        doubting = []
        for name in named["predictions"]:
            try:
                doubting += [name] if len(self.tilewise(slide, name).chances) > 1 else []
            except StoreError as error:
                problems.append(str(error))
        return {"maps": maps, **named, "doubting": doubting, **there, "problems": problems,
                "withheld": withheld}  # fmt: skip

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

    def quality(self, slide: str) -> dict[str, Any]:
        """Return what is wrong with the tissue: cells by flag, and each flag's share of the tissue."""
        from coverslip.tissue.quality.cells import FLAGS

        run, key = self._run(slide, "quality")
        found = run.get(slide, key)
        xy = np.stack([found.cells["x"], found.cells["y"]], axis=1).astype(float)
        flags = [
            {"name": flag, "colour": class_colour(i), "share": float(found.summary.get(flag, 0)),
             "xy": xy[np.asarray(found.cells[flag], bool)].tolist()}
            for i, flag in enumerate(FLAGS)
        ]  # fmt: skip
        return {"side": found.side_px, "usable": found.summary.get("usable_fraction"), "flags": flags}

    def grid(self, slide: str, name: str | None) -> dict[str, Any]:
        """Return where the tiles lie, and what a prediction says of each."""
        if name is not None:
            return self.tilewise(slide, name).to_dict()
        run, key = self._run(slide, "tiles")
        tiles = run.get(slide, key)
        return {"xy": tiles.xy.tolist(), "side": float(tiles.side_px)}

    def predictions(self, slide: str) -> list[str]:
        """Return the names of what is said of this slide's tiles."""
        entry = self._library.entry(slide)
        keys = () if entry.run is None else entry.run.keys(slide)
        return [key.partition("/")[2] for key in keys if key.startswith("predictions/")]

    def tilewise(self, slide: str, name: str) -> Tilewise:
        """Return what a prediction says of each tile.

        Raises
        ------
        UnknownNameError
            When the run holds none of that name.
        StoreError
            When it has other tiles than the run.
        """
        run, key = self._run(slide, f"predictions/{name}")

        def opened() -> Tilewise:
            tiles = run.get(slide, "tiles") if run.has(slide, "tiles") else None
            return Tilewise.of(name, run.get(slide, key), tiles)

        made: Tilewise = self._once((slide, key), run.path_of(slide, key).stat().st_mtime_ns, opened)
        return made

    def made(self, slide: str, key: str) -> str | None:
        """Return the fingerprint of a result."""
        run, key = self._run(slide, key)
        return run.fingerprint(slide, key)

    def features(self, slide: str, rows: int) -> Any | None:
        """Return the features of the tiles, shape (rows, d); None where there are none of so many."""
        entry = self._library.entry(slide)
        for key in () if entry.run is None else entry.run.keys(slide):
            if key.startswith("features/"):
                found = entry.run.get(slide, key).X  # type: ignore[union-attr]
                if len(found) == rows:
                    return found
        return None

    def suspicious(self, slide: str, limit: int) -> list[dict[str, Any]]:
        """Return the tiles of greatest probability of a class that is no routine, over all predictions."""
        found: list[dict[str, Any]] = []
        for name in self.predictions(slide):
            try:
                found += self.tilewise(slide, name).suspicious()
            except StoreError:  # said where the layers are listed; the other predictions still count
                continue
        return sorted(found, key=lambda one: -one["score"])[:limit]

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
            mine = self._making.setdefault(key, Lock())
        with mine:  # two who ask for the same make it once
            if key not in self._kept:
                made = make()
                with self._lock:
                    self._kept[key] = made
                    self._forget()
            with self._lock:
                self._making.pop(key, None)
                return self._kept[key]

    def _forget(self) -> None:
        """Let go of the layers that were looked at longest ago, objects sooner than others."""
        indexes = [key for key, layer in self._kept.items() if isinstance(layer, ObjectIndex)]
        others = [key for key in self._kept if key not in indexes]
        for key in [*indexes[:-INDEXED], *others[:-KEPT]]:
            del self._kept[key]


def said_of(run: RunFolder, key: str, slide: str) -> dict[str, Any] | None:
    """Return the row of a slide in a prediction of slides, with the model that made it; None without one."""
    table = run.get(None, key)
    names = [str(name) for name in table.columns.get("slide", ())]
    if slide not in names:
        return None
    row = names.index(slide)
    chances = {
        name: float(values[row])
        for name, values in chances_of(table.columns).items()
        if np.isfinite(values[row])
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
