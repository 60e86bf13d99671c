"""What is where on a phantom slide, in level-0 pixels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, atomic
from coverslip.phantom import colour
from coverslip.phantom.atlas import CLASSES, FIRST_MITOSIS
from coverslip.phantom.glands import glands_near, lumens, outline
from coverslip.phantom.nuclei import BLOCK, NUCLEUS
from coverslip.phantom.paint import Painter
from coverslip.phantom.scene import Rect


class Truth:
    """What is where on a phantom slide. Made with the phantom; nothing is held that can be worked out again.

    Nuclei follow from their place, so a slide of millions needs no more memory than one of hundreds.
    """

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._scene = painter.scene

    @property
    def tissue(self) -> Any:
        """Tissue as a shapely MultiPolygon, with holes where glass shows."""
        return self._scene.layout.tissue

    @property
    def tumour(self) -> Any:
        """Tumour as a shapely MultiPolygon."""
        return self._scene.layout.tumour

    @property
    def fat(self) -> Any:
        """Adipose tissue as a shapely MultiPolygon."""
        return self._scene.layout.fat

    @property
    def necrosis(self) -> Any:
        """Dead tumour as a shapely MultiPolygon."""
        return self._scene.layout.necrosis

    @property
    def fibrosis(self) -> Any:
        """Scar as a shapely MultiPolygon."""
        return self._scene.layout.fibrosis

    @property
    def stains(self) -> dict[str, tuple[float, float, float]]:
        """Unit optical-density vectors (R, G, B) by stain."""
        names = ("haematoxylin", "dab") if self._scene.spec.stain == "ihc" else ("haematoxylin", "eosin")
        rows = colour.stains_of(self._scene.spec, self._scene.seed)
        numbers = {"haematoxylin": 0, "eosin": 1, "dab": 2}
        return {name: tuple(float(v) for v in rows[numbers[name]]) for name in names}

    @property
    def artefacts(self) -> Mapping[str, tuple[Any, ...]]:
        """Artefacts' shapely polygons by kind."""
        found: dict[str, tuple[Any, ...]] = {}
        for artefact in self._painter.artefacts:
            found[artefact.kind] = (*found.get(artefact.kind, ()), artefact.polygon)
        return found

    @cached_property
    def glands(self) -> tuple[Any, ...]:
        """Glands as shapely Polygons, each with its lumens as holes."""
        from shapely.geometry import Polygon

        if self.tissue.is_empty:
            return ()
        return tuple(Polygon(outline(gland), lumens(gland)) for gland in self._glands)

    @cached_property
    def _glands(self) -> NDArray[np.void]:
        found = glands_near(self._scene, *self.tissue.bounds)
        return found[~found["vessel"]]

    @property
    def patterns(self) -> NDArray[np.uint8]:
        """Gleason pattern of each gland of `glands`, 3 to 5."""
        return np.zeros(0, np.uint8) if self.tissue.is_empty else self._glands["pattern"]

    def in_nest(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which points, in level-0 pixels, lie in a nest of living tumour cells."""
        return self._scene.nest(x, y)

    def mitoses(self) -> NDArray[np.void]:
        """Return the nuclei in mitosis, as a `coverslip.phantom.NUCLEUS` array."""
        found = [part[part["sprite"] >= FIRST_MITOSIS] for part in self.nuclei()]
        return np.concatenate(found) if found else np.zeros(0, NUCLEUS)

    def nuclei_in(self, box: Box) -> NDArray[np.void]:
        """Return the nuclei whose centres lie in a box, as a `coverslip.phantom.NUCLEUS` array."""
        left, top = int(np.floor(box.x)), int(np.floor(box.y))
        rect = Rect(left, top, int(np.ceil(box.right)) - left, int(np.ceil(box.bottom)) - top)
        found = self._painter.nuclei_near(rect, 0)
        inside = (
            (found["x"] >= box.x)
            & (found["x"] < box.right)
            & (found["y"] >= box.y)
            & (found["y"] < box.bottom)
        )
        return found[inside]

    def nuclei(self) -> Iterator[NDArray[np.void]]:
        """Yield the slide's nuclei block by block, as `coverslip.phantom.NUCLEUS` arrays."""
        spec = self._scene.spec
        for row in range(-(-spec.height // BLOCK)):
            for column in range(-(-spec.width // BLOCK)):
                found = self._painter.nuclei(column, row)
                if found.size:
                    yield found

    def outline(self, nucleus: np.void) -> NDArray[np.float64]:
        """Return a nucleus's outline (n, 2) in level-0 pixels."""
        centre = np.array([nucleus["x"], nucleus["y"]])
        return self._scene.sprites.outlines[nucleus["sprite"]].astype(np.float64) + centre

    def axes(self, nuclei: NDArray[np.void]) -> NDArray[np.float32]:
        """Return the half axes (n, 2) of nuclei in level-0 pixels, the longer first."""
        return self._scene.sprites.axes[nuclei["sprite"]]

    def angles(self, nuclei: NDArray[np.void]) -> NDArray[np.float64]:
        """Return the directions (n,) of nuclei's longer axes in radians, from x towards y."""
        from coverslip.phantom.atlas import ANGLES

        return np.asarray(nuclei["sprite"] % ANGLES * (2 * np.pi / ANGLES))

    def to_json(self, *, glands: bool = True) -> dict[str, Any]:
        """Return all outlines as a GeoJSON FeatureCollection in level-0 pixels; nuclei as counts by class."""
        shapes = [("tissue", part) for part in self.tissue.geoms]
        shapes += [("tumour", part) for part in self.tumour.geoms] + [
            ("fat", part) for part in self.fat.geoms
        ]
        shapes += [("necrosis", part) for part in self.necrosis.geoms]
        shapes += [("fibrosis", part) for part in self.fibrosis.geoms]
        shapes += [("gland", gland) for gland in self.glands] if glands else []
        shapes += [(kind, polygon) for kind, polygons in self.artefacts.items() for polygon in polygons]
        return {
            "type": "FeatureCollection",
            "features": [_feature(name, shape) for name, shape in shapes],
            "phantom": {
                "spec": asdict(self._scene.spec),
                "seed": self._scene.seed,
                "stains": self.stains,
                "nuclei": self.counts(),
            },
        }

    def counts(self) -> dict[str, int]:
        """Return the number of nuclei by class."""
        total = np.zeros(len(CLASSES), np.int64)
        for found in self.nuclei():
            total += np.bincount(found["kind"], minlength=len(CLASSES))
        return dict(zip(CLASSES, total.tolist(), strict=True))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to a file, whole or not at all."""
        target = Path(path)
        with atomic(target) as partial:
            partial.write_text(json.dumps(self.to_json()), encoding="utf-8")
        return target


def _feature(name: str, shape: Any) -> dict[str, Any]:
    from shapely.geometry import mapping

    properties = {"objectType": "annotation", "classification": {"name": name}}
    return {"type": "Feature", "geometry": mapping(shape), "properties": properties}
