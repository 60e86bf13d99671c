"""How artefacts look: what each does to the stain, or to the light, of a rect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.artefacts import Artefact
from coverslip.phantom.layout import rings_of
from coverslip.phantom.noise import noise_at
from coverslip.phantom.scene import Coarse, Rect

CELL = 4
"""Edges softer than this are blurred on cells of so many pixels and interpolated."""

MARGIN = 48
"""Pixels beyond a rect that blur and refraction may draw from."""

Plane = NDArray[np.float32]
LAYERS = ("over_stained", "under_stained", "fold", "bubble", "blur", "dust", "coverslip_edge", "pen")
"""From the tissue up to the pen on the coverslip."""

OF_STAIN = ("over_stained", "under_stained", "fold")
OF_FOCUS = ("blur", "bubble")


class Artefacts:
    """The artefacts of a slide, to be asked which touch a rect."""

    def __init__(self, items: Sequence[Artefact]) -> None:
        present = (item for item in items if not item.polygon.is_empty)
        self.items = tuple(sorted(present, key=lambda item: LAYERS.index(item.kind)))
        grow = [np.array([-item.reach, -item.reach, item.reach, item.reach]) for item in self.items]
        bounds = [np.array(item.polygon.bounds) + wide for item, wide in zip(self.items, grow, strict=True)]
        self._bounds = np.array(bounds).reshape(-1, 4)

    def near(self, rect: Rect) -> list[Artefact]:
        """Return those that may touch a rect, from the tissue upwards."""
        left, top, right, bottom = self._bounds.T
        touch = (
            (left < rect.x + rect.width) & (right > rect.x) & (top < rect.y + rect.height) & (bottom > rect.y)
        )
        return [self.items[number] for number in np.flatnonzero(touch)]


def mask_of(rect: Rect, artefact: Artefact) -> Plane:
    """Return an artefact's polygon filled, 0 … 1, with an edge as soft as it looks."""
    import shapely

    sigma = artefact.look.get("soft", 2.0)
    cell = CELL if sigma >= CELL else 1
    margin = (int(np.ceil(3 * sigma / cell)) + 2) * cell
    wide = Rect(rect.x - margin, rect.y - margin, rect.width + 2 * margin, rect.height + 2 * margin)
    rings = rings_of(shapely.clip_by_rect(artefact.polygon, *_corners(wide, 32)))
    if not rings:
        return np.zeros((rect.height, rect.width), np.float32)
    mask = np.zeros((wide.height, wide.width), np.uint8)
    corners = [np.rint((ring - (wide.x + 0.5, wide.y + 0.5)) * 256).astype(np.int32) for ring in rings]
    cv2.fillPoly(mask, corners, 255, shift=8)
    cells = cv2.resize(mask, (wide.width // cell, wide.height // cell), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(cells.astype(np.float32) * np.float32(1 / 255), (0, 0), max(sigma / cell, 0.6))
    smooth = cv2.resize(soft, (wide.width, wide.height), interpolation=cv2.INTER_LINEAR)
    return smooth[margin:-margin, margin:-margin]


def _corners(rect: Rect, more: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a rect, `more` pixels further out."""
    return rect.x - more, rect.y - more, rect.x + rect.width + more, rect.y + rect.height + more


Stain = NDArray[np.float32]


def change_stain(
    rect: Rect, stain: Stain, artefact: Artefact, paint: Callable[[Rect], Stain | None]
) -> Stain:
    """Return concentrations with more, less or twice the tissue; `paint` gives them elsewhere."""
    mask = mask_of(rect, artefact)[:, :, None]
    if artefact.kind != "fold":
        return stain * (1 + mask * np.float32(artefact.look["factor"] - 1))
    x, y = artefact.look["shift"]
    below = paint(Rect(rect.x + x, rect.y + y, rect.width, rect.height))
    edge = mask * (1 - mask) * 4
    extra = stain * np.float32(0.8)
    if below is not None:
        np.maximum(extra, below, out=extra)
    return stain + mask * (extra + np.float32(0.18)) + edge * (np.float32(0.25) * stain)


def change_light(rect: Rect, light: NDArray[np.float32], artefact: Artefact) -> NDArray[np.float32]:
    """Return the light (h, w, 3) as it comes through an artefact."""
    return _LIGHT[artefact.kind](rect, light, artefact)


def _blurred(rect: Rect, light: NDArray[np.float32], artefact: Artefact) -> NDArray[np.float32]:
    mask = mask_of(rect, artefact)[:, :, None]
    soft = cv2.GaussianBlur(light, (0, 0), artefact.look["sigma"])
    return light + mask * (soft - light)


def _inked(rect: Rect, light: NDArray[np.float32], artefact: Artefact) -> NDArray[np.float32]:
    """Lay felt pen over the light: denser at the stroke's edges, streaked, and out of focus."""
    look = artefact.look
    mask = mask_of(rect, artefact)
    wide = mask_of(rect, _softer(artefact, look["width"] * 0.12))
    coarse = Coarse.of(rect)
    streaks = coarse.dense(
        1 + 0.16 * noise_at(int(look["width"] * 1000), coarse.x, coarse.y * 0.4, look["width"] * 0.5)
    )
    density = mask * streaks * (1 + 0.35 * (1 - np.clip(2 * wide - 1, 0, 1))) * np.float32(look["strength"])
    ink = np.array(look["ink"], np.float32) * np.float32(-2.302585)
    return light * cv2.exp(density[:, :, None] * ink)


def _softer(artefact: Artefact, soft: float) -> Artefact:
    return Artefact(artefact.kind, artefact.polygon, artefact.look | {"soft": min(soft, 60.0)})


def _shaded(rect: Rect, light: NDArray[np.float32], artefact: Artefact) -> NDArray[np.float32]:
    tint = np.array(artefact.look["tint"], np.float32) * np.float32(artefact.look["darkness"])
    return light * (1 - mask_of(rect, artefact)[:, :, None] * tint)


def _bubbled(rect: Rect, light: NDArray[np.float32], artefact: Artefact) -> NDArray[np.float32]:
    """Look through a bubble: bent and out of focus within, a dark rim, a faint glow outside."""
    look = artefact.look
    radius, rim = look["radius"], look["rim"]
    x = (np.arange(rect.width, dtype=np.float32) + np.float32(rect.x + 0.5 - look["x"]))[None, :]
    y = (np.arange(rect.height, dtype=np.float32) + np.float32(rect.y + 0.5 - look["y"]))[:, None]
    away = np.sqrt(x * x + y * y)
    q = np.minimum(away / np.float32(radius), 1.2)
    bend = np.minimum(np.float32(0.10 * radius), 40) * q**5 * (q < 1) / np.maximum(away, 1)
    columns, rows = (np.arange(n, dtype=np.float32) for n in (rect.width, rect.height))
    bent = cv2.remap(light, columns[None, :] + x * bend, rows[:, None] + y * bend, cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    soft = cv2.GaussianBlur(bent, (0, 0), 2.2)
    inside = np.clip((np.float32(radius) - away) / np.float32(rim * 0.3) + np.float32(0.5), 0, 1)[:, :, None]
    light = light + inside * (soft * np.float32(0.82) + np.float32(0.17) - light)
    ring = np.exp(-(((away - np.float32(radius - rim)) / np.float32(rim * 0.62)) ** 2))
    glow = np.exp(-(((away - np.float32(radius - 2.6 * rim)) / np.float32(rim * 0.7)) ** 2))
    outer = np.exp(-(((away - np.float32(radius + rim)) / np.float32(rim * 0.8)) ** 2))
    change = (1 - np.float32(0.80) * ring) * (1 + np.float32(0.06) * glow) * (1 + np.float32(0.035) * outer)
    return light * change[:, :, None]


_LIGHT: dict[str, Callable[..., Any]] = {
    "blur": _blurred,
    "bubble": _bubbled,
    "pen": _inked,
    "dust": _shaded,
    "coverslip_edge": _shaded,
}
