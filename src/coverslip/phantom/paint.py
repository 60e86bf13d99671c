"""From place to stain: concentrations of haematoxylin, eosin (and DAB) in any rectangle of the tissue."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.artefacts import place_artefacts
from coverslip.phantom.atlas import UNIT
from coverslip.phantom.colour import glow, stains_of, transmit
from coverslip.phantom.glands import ACINAR, glands_near, goblets, lumens, outline
from coverslip.phantom.layout import rings_of
from coverslip.phantom.nuclei import BLOCK, nuclei_of
from coverslip.phantom.optics import MARGIN, OF_FOCUS, OF_STAIN, Artefacts, change_light, change_stain
from coverslip.phantom.scene import LUMEN, Coarse, Rect, Scene, smooth

Plane = NDArray[np.float32]

DAB = (0.0, 0.3, 0.55, 0.95)
"""Mean amount of DAB in nuclei, or on membranes, that are negative, 1+, 2+ and 3+."""

COMPLETE = (0.0, 0.3, 1.0, 1.0)
"""Share of a cell's own membrane that is stained, likewise. Its neighbours' lie so near that they add to it:
with 0.45 of each, a tenth of the cells looked stained all round, which is 2+ by definition.
"""

MEMBRANE_UM = 1.2, 2.0
"""How wide a membrane is, and how far from the nucleus, in µm."""

RIM = 4
"""Masks are drawn so many pixels wider than wanted, to be softened."""


class Painter:
    """Paints concentrations; keeps the nuclei of the blocks that it has lately seen."""

    def __init__(self, scene: Scene) -> None:
        from shapely.prepared import prep

        self.scene = scene
        self.artefacts = place_artefacts(scene.spec, scene.seed, scene.layout)
        self._artefacts = Artefacts(self.artefacts)
        self._prepared = prep(scene.layout.tissue)
        self.vectors = stains_of(scene.spec, scene.seed)
        self.nuclei = lru_cache(maxsize=1024)(lambda column, row: nuclei_of(scene, column, row))

    def nuclei_near(self, rect: Rect, reach: int) -> NDArray[np.void]:
        """Return the nuclei whose centres lie within `reach` of a rect, in an order that never changes."""
        left, right = rect.x - reach, rect.x + rect.width + reach
        top, bottom = rect.y - reach, rect.y + rect.height + reach
        parts = [
            self.nuclei(column, row)
            for row in range(max(top, 0) // BLOCK, (bottom - 1) // BLOCK + 1)
            for column in range(max(left, 0) // BLOCK, (right - 1) // BLOCK + 1)
        ]
        if not parts:
            return self.nuclei(-9, -9)
        found = np.concatenate(parts)
        x, y = found["x"], found["y"]
        return found[(x >= left) & (x < right) & (y >= top) & (y < bottom)]

    def is_glass(self, rect: Rect) -> bool:
        """Say whether a rect shows neither tissue nor artefact."""
        from shapely.geometry import box

        if self._artefacts.near(rect):
            return False
        margin = 8
        place = box(
            rect.x - margin, rect.y - margin, rect.x + rect.width + margin, rect.y + rect.height + margin
        )
        return not self._prepared.intersects(place)

    def light(self, rect: Rect) -> NDArray[np.float32]:
        """Return the light that a rect lets through, (h, w, 3): 1 for glass, 0 for black."""
        near = [artefact for artefact in self._artefacts.near(rect) if artefact.kind not in OF_STAIN]
        margin = MARGIN if any(artefact.kind in OF_FOCUS for artefact in near) else 0
        wide = rect.grown(margin)
        stain = self.stain(wide)
        if self.scene.spec.stain == "fluorescence":
            light = glow(stain, (wide.height, wide.width))
        elif stain is None:
            light = np.ones((wide.height, wide.width, 3), np.float32)
        else:
            light = transmit(stain, self.vectors)
        for artefact in near:
            light = change_light(wide, light, artefact)
        return light[margin : margin + rect.height, margin : margin + rect.width]

    def stain(self, rect: Rect) -> NDArray[np.float32] | None:
        """Return what `paint` does, with folds and over- and under-staining."""
        stain = self.paint(rect)
        if stain is None:
            return None
        for artefact in self._artefacts.near(rect):
            if artefact.kind in OF_STAIN:
                stain = change_stain(rect, stain, artefact, self.paint)
        return stain

    def tissue_mask(self, rect: Rect) -> Plane | None:
        """Return the tissue's outline filled, 0 … 1 with soft edges, or None where there is none."""
        import shapely

        mask, origin = _canvas(rect)
        clip = (*(origin - 8), *(origin + mask.shape[::-1] + 8))
        rings = rings_of(shapely.clip_by_rect(self.scene.layout.tissue, *clip))
        if not rings:
            return None
        corners = [np.rint((ring - origin) * 16).astype(np.int32) for ring in rings]
        cv2.fillPoly(mask, corners, 255, lineType=cv2.LINE_AA, shift=4)
        return _softened(mask)

    def paint(self, rect: Rect) -> NDArray[np.float32] | None:
        """Return concentrations (h, w, 3) of haematoxylin, eosin and DAB, or None for mere glass."""
        mask = self.tissue_mask(rect)
        if mask is None or not mask.any():
            return None
        scene, coarse = self.scene, Coarse.of(rect)
        blue, pink, grain = self._ground(coarse)
        self._glands(rect, grain, (blue, pink))
        counter, brown = self._nuclei(rect)
        pink *= 1 - np.minimum(counter + brown, 1) * np.float32(0.93)
        strength = 1 - scene.spec.faint
        field = scene.noise("strength blue", coarse.x, coarse.y, 3000.0) * 0.06 + 1
        other = scene.noise("strength pink", coarse.x, coarse.y, 2500.0) * 0.09 + 1
        blue += counter
        blue *= mask * coarse.dense(field * strength)
        pink *= mask * coarse.dense(other * strength)
        brown *= mask * np.float32(strength)
        if scene.spec.stain == "ihc":
            # eosin is not used: what it would colour takes a breath of both others
            blue, brown, pink = blue + pink * np.float32(0.13), brown + pink * np.float32(0.035), pink * 0
        return cv2.merge([blue, pink, brown])

    def _ground(self, coarse: Coarse) -> tuple[Plane, Plane, Plane]:
        """Return haematoxylin and eosin of everything but nuclei and glands, and the fine grain."""
        scene, (x, y) = self.scene, (coarse.x, coarse.y)
        fibre, grain, wall, cleft = scene.textures(coarse)
        dense_share = coarse.dense(np.clip(1.0 + 0.2 * scene.noise("collagen", x, y, 240.0), 0.6, 1.4))
        pink = (fibre * np.float32(0.44) + np.float32(0.10)) * dense_share
        pink *= 1 - np.float32(0.9) * cleft
        blue = grain * np.float32(0.07) + np.float32(0.035)
        lymph = scene.lymph(x, y)
        if lymph.max() > 0:
            lymph = coarse.dense(lymph)
            blue += lymph * np.float32(0.14)
            pink *= 1 - lymph * np.float32(0.45)
        tumour = scene.distance("tumour", x, y)
        if tumour.max() > 0:
            self._tumour(coarse, tumour, grain, (blue, pink))
        self._spared(coarse, (fibre, grain), (blue, pink))
        fat = scene.distance("fat", x, y)
        if fat.max() > 0:
            share = coarse.dense(
                smooth(fat + scene.px(15) * scene.noise("fat edge", x, y, 60.0), 0, scene.px(10))
            )
            _blend(pink, wall * np.float32(0.62) + np.float32(0.012), share)
            _blend(blue, wall * np.float32(0.10) + np.float32(0.004), share)
        np.maximum(blue, 0, out=blue)
        return blue, pink, grain

    def _tumour(self, coarse: Coarse, distance: Plane, grain: Plane, planes: tuple[Plane, Plane]) -> None:
        """Lay nests of tumour epithelium over the stroma, with lumens."""
        scene, (blue, pink) = self.scene, planes
        nests = coarse.dense(scene.nests(coarse.x, coarse.y))
        inside = coarse.dense(smooth(distance, 0, scene.px(9)))
        share = np.clip(nests * 7, 0, 1) * inside
        cells = coarse.dense(1 + 0.25 * scene.noise("cytoplasm", coarse.x, coarse.y, 35.0))
        _blend(blue, (grain * np.float32(0.24) + np.float32(0.19)) * cells, share)
        _blend(pink, grain * np.float32(0.24) + np.float32(0.34), share)
        lumen = np.clip((nests - np.float32(LUMEN)) * 8, 0, 1) * inside
        if lumen.max() > 0:
            _blend(blue, np.maximum(grain, 0) * np.float32(0.12), lumen)
            _blend(pink, np.maximum(grain - 0.1, 0) * np.float32(0.5), lumen)

    def _spared(self, coarse: Coarse, textures: tuple[Plane, Plane], planes: tuple[Plane, Plane]) -> None:
        """Lay dead tissue (pale pink, crumbling) and scar (dense fibres) over what is there."""
        scene, (fibre, grain), (blue, pink) = self.scene, textures, planes
        dead = scene.distance("necrosis", coarse.x, coarse.y)
        if dead.max() > 0:
            share = coarse.dense(smooth(dead, -scene.px(4), scene.px(6)))
            _blend(blue, np.maximum(grain, 0) * np.float32(0.10) + np.float32(0.03), share)
            _blend(pink, grain * np.float32(0.55) + np.float32(0.62), share)
        scar = scene.distance("fibrosis", coarse.x, coarse.y)
        if scar.max() > 0:
            share = coarse.dense(smooth(scar, -scene.px(6), scene.px(8)))
            _blend(blue, np.float32(0.03), share)
            _blend(pink, fibre * np.float32(0.42) + np.float32(0.62), share)

    def _glands(self, rect: Rect, grain: Plane, planes: tuple[Plane, Plane]) -> None:
        """Draw glands (basement membrane, cytoplasm, mucin, lumen) and vessels (wall, red cells)."""
        found = glands_near(self.scene, rect.x, rect.y, rect.x + rect.width, rect.y + rect.height)
        glands, vessels = found[~found["vessel"]], found[found["vessel"]]
        if glands.size:
            _layers(planes, _filled(rect, glands, 1.06), 0.02, 0.10)
            _layers(
                planes,
                _filled(rect, glands, 1.0),
                0.16 + grain * np.float32(0.14),
                0.36 + grain * np.float32(0.2),
            )
            plain = glands[glands["pattern"] == ACINAR] if self.scene.spec.patterns is None else glands[:0]
            _layers(planes, self._goblets(rect, plain), 0.055 + grain * np.float32(0.10), 0.04)
            _layers(planes, _lumens(rect, glands, 1.08), 0.10, 0.50)
            _layers(planes, _lumens(rect, glands, 1.0), np.maximum(grain, 0) * np.float32(0.07), 0.012)
        if vessels.size:
            _layers(planes, _filled(rect, vessels, 1.0), 0.05, 0.62)
            red = np.clip(grain * 9 + np.float32(0.3), 0, 1)
            _layers(
                planes,
                _filled(rect, vessels, vessels["lumen"]),
                red * np.float32(0.04),
                red * np.float32(0.72),
            )

    def _goblets(self, rect: Rect, glands: NDArray[np.void]) -> Plane:
        """Return the mucin of goblet cells between a gland's nuclei and its lumen."""
        mask, origin = _canvas(rect)
        for gland in glands:
            places, radii = goblets(self.scene, gland)
            for place, radius in zip((places - origin) * 16, radii * 16, strict=True):
                centre = int(place[0]), int(place[1])
                cv2.circle(mask, centre, int(radius), 255, -1, cv2.LINE_AA, 4)
        return _softened(mask)

    def _nuclei(self, rect: Rect) -> tuple[Plane, Plane]:
        """Return haematoxylin and DAB of the nuclei."""
        scene = self.scene
        ihc = scene.spec.stain == "ihc"
        layers = [np.zeros((rect.height, rect.width), np.uint8) for _ in range(1 + ihc)]
        pictures = scene.sprites.pictures
        found = self.nuclei_near(rect, scene.sprites.reach + int(scene.px(MEMBRANE_UM[1]) + 2))
        if scene.spec.marker == "membrane" or (ihc and scene.spec.levels is not None):
            return self._levelled(rect, found)
        columns = (np.floor(found["x"]) - rect.x).astype(int).tolist()
        rows = (np.floor(found["y"]) - rect.y).astype(int).tolist()
        for x, y, number, positive in zip(
            columns, rows, found["sprite"].tolist(), found["positive"].tolist(), strict=True
        ):
            stamp(layers[positive], pictures[number], x, y)
        blue = layers[0].astype(np.float32) * np.float32((0.6 if ihc else 1.0) / UNIT)
        brown = layers[1].astype(np.float32) * np.float32(0.95 / UNIT) if ihc else np.zeros_like(blue)
        return blue, brown

    def darkness(self, nuclei: NDArray[np.void]) -> NDArray[np.float64]:
        """Return how much stain nuclei hold on average: where two overlap, the darker is seen."""
        spec = self.scene.spec
        means = self.scene.sprites.means[nuclei["sprite"]]
        if spec.stain != "ihc" or spec.marker == "membrane":
            return np.asarray(means)
        brown = 0.95 * means if spec.levels is None else np.array(DAB)[nuclei["level"]]
        return np.where(nuclei["positive"], brown, 0.6 * means)

    def _levelled(self, rect: Rect, found: NDArray[np.void]) -> tuple[Plane, Plane]:
        """Return haematoxylin and DAB of nuclei that are weakly, moderately or strongly positive."""
        sprites, membrane = self.scene.sprites, self.scene.spec.marker == "membrane"
        blue, brown = (np.zeros((rect.height, rect.width), np.uint8) for _ in range(2))
        for nucleus in found[np.argsort(found["level"], kind="stable")]:
            number, level = int(nucleus["sprite"]), int(nucleus["level"])
            x, y = int(np.floor(nucleus["x"])) - rect.x, int(np.floor(nucleus["y"])) - rect.y
            if membrane or not level:
                stamp(blue, sprites.pictures[number], x, y)
            else:
                amount = DAB[level] / sprites.means[number]
                stamp(brown, cv2.convertScaleAbs(sprites.pictures[number], alpha=amount), x, y)
            if membrane and level:
                line = np.rint((membrane_of(self.scene, nucleus) - (rect.x + 0.5, rect.y + 0.5)) * 16)
                wide = max(1, round(self.scene.px(MEMBRANE_UM[0])))
                value = DAB[level] * UNIT
                cv2.polylines(brown, [line.astype(np.int32)], False, value, wide, cv2.LINE_AA, 4)
        counter = blue.astype(np.float32) * np.float32(0.6 / UNIT)
        return counter, brown.astype(np.float32) * np.float32(1 / UNIT)


def membrane_of(scene: Scene, nucleus: np.void) -> NDArray[np.float64]:
    """Return the stained part of a cell's membrane as a line (n, 2) in level-0 pixels."""
    line = scene.sprites.outlines[nucleus["sprite"]].astype(np.float64)
    away = np.linalg.norm(line, axis=1, keepdims=True)
    ring = line * (1 + scene.px(MEMBRANE_UM[1]) / np.maximum(away, 1))
    ring = np.concatenate([ring, ring[:1]])
    start = int(nucleus["x"] * 7 + nucleus["y"] * 13) % (len(ring) - 1)
    turned = np.roll(ring[:-1], -start, axis=0)
    part = round((len(ring) - 1) * COMPLETE[int(nucleus["level"])])
    whole = np.concatenate([turned, turned[:1]]) + np.array([nucleus["x"], nucleus["y"]])
    return np.asarray(whole[: part + 1])


def stamp(layer: NDArray[np.uint8], picture: NDArray[np.uint8], x: int, y: int) -> None:
    """Lay a picture with its middle at (x, y) onto a layer; the darker wins."""
    half = picture.shape[0] // 2
    left, top = x - half, y - half
    rows = slice(max(top, 0), max(0, min(y + half + 1, layer.shape[0])))
    columns = slice(max(left, 0), max(0, min(x + half + 1, layer.shape[1])))
    place = layer[rows, columns]
    if place.size:
        part = picture[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.maximum(place, part, out=place)


def _blend(plane: Plane, value: Any, share: Plane) -> None:
    """Move a plane towards `value` by `share`, in place."""
    plane += share * (value - plane)


def _layers(planes: tuple[Plane, Plane], share: Plane, blue: Any, pink: Any) -> None:
    """Move haematoxylin and eosin towards values by `share`, in place."""
    _blend(planes[0], blue, share)
    _blend(planes[1], pink, share)


def _canvas(rect: Rect) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return an empty mask somewhat wider than a rect, and the place of its first pixel's middle."""
    mask = np.zeros((rect.height + 2 * RIM, rect.width + 2 * RIM), np.uint8)
    return mask, np.array([rect.x - RIM + 0.5, rect.y - RIM + 0.5])


def _softened(mask: NDArray[np.uint8]) -> Plane:
    """Return a mask of `_canvas` cut to its rect, 0 … 1 with soft edges."""
    soft = cv2.GaussianBlur(mask, (5, 5), 1.2)[RIM:-RIM, RIM:-RIM]
    return soft.astype(np.float32) * np.float32(1 / 255)


def _lumens(rect: Rect, glands: NDArray[np.void], share: float) -> Plane:
    """Return the lumens of glands, at `share` of their size, filled with soft edges."""
    mask, origin = _canvas(rect)
    for gland in glands:
        for line in lumens(gland, share):
            corners = np.rint((line - origin) * 16).astype(np.int32)
            cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=4)
    return _softened(mask)


def _filled(rect: Rect, glands: NDArray[np.void], share: Any) -> Plane:
    """Return the outlines of glands, drawn at `share` of their size, filled with soft edges."""
    mask, origin = _canvas(rect)
    for gland, part in zip(glands, np.broadcast_to(share, glands.size), strict=True):
        corners = np.rint((outline(gland, float(part)) - origin) * 16).astype(np.int32)
        cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=4)
    return _softened(mask)
