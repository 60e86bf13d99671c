"""A run shows itself in a notebook: a row per slide, its thumbnail with the tissue outlined, its results."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from coverslip.core.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from coverslip.store.folder import RunFolder

SHOWN = 20
"""Slides of a run that are shown."""

HEIGHT = 120
"""Height of a thumbnail on the page, in CSS pixels."""


def run_html(run: RunFolder) -> str:
    """Return a self-contained HTML fragment: the run's slides."""
    slides = run.slides()
    rows = "".join(_row(run, slide) for slide in slides[:SHOWN])
    more = f"<p>… and {len(slides) - SHOWN} more</p>" if len(slides) > SHOWN else ""
    head = "<tr><th></th><th>slide</th><th>results</th></tr>"
    name = html.escape(str(run.path))
    return f"<p><b>{name}</b>: {len(slides)} slide(s)</p><table>{head}{rows}</table>{more}"


def results_html(found: Mapping[str, Any]) -> str:
    """Return a self-contained HTML fragment: a slide's thumbnail with its tissue, and a row per result."""
    rows = "".join(
        f"<tr><td><code>{html.escape(key)}</code></td><td>{html.escape(_short(value))}</td></tr>"
        for key, value in found.items()
        if key not in {"slide", "thumbnail"}
    )
    picture = picture_html(found.get("thumbnail"), found.get("tissue"), found.get("slide", {}).get("width"))
    return f"<div style='display:flex;gap:1em'>{picture}<table>{rows}</table></div>"


def picture_html(thumbnail: NDArray[np.uint8] | None, tissue: Any, width: float | None) -> str:
    """Return a thumbnail with the tissue's outline over it; `width` is the slide's in level-0 pixels."""
    if thumbnail is None:
        return ""
    rows, columns = thumbnail.shape[:2]
    scale = columns / width if width else 1.0
    outline = "" if tissue is None else f"<path d='{_path(tissue.polygons, scale)}'/>"
    return (
        f"<svg viewBox='0 0 {columns} {rows}' height='{HEIGHT}' fill='none' stroke='#0a7d45' "
        f"stroke-width='{rows / HEIGHT:.1f}'><image width='{columns}' height='{rows}' "
        f"href='data:image/jpeg;base64,{_jpeg(thumbnail)}'/>{outline}</svg>"
    )


def _row(run: RunFolder, slide: str) -> str:
    picture = picture_html(
        _get(run, slide, "thumbnail"),
        _get(run, slide, "tissue"),
        (_get(run, slide, "slide") or {}).get("width"),
    )
    keys = ", ".join(key for key in run.keys(slide) if key not in {"slide", "thumbnail"})
    return f"<tr><td>{picture}</td><td>{html.escape(slide)}</td><td>{html.escape(keys or 'none')}</td></tr>"


def _get(run: RunFolder, slide: str, key: str) -> Any:
    try:
        return run.get(slide, key) if run.has(slide, key) else None
    except StoreError:
        return None


def _path(polygons: Iterable[Any], scale: float) -> str:
    rings = (ring for polygon in polygons for ring in (polygon.exterior, *polygon.interiors))
    return "".join(
        "M" + "L".join(f"{x * scale:.1f},{y * scale:.1f}" for x, y in ring.coords) + "Z" for ring in rings
    )


def _jpeg(rgb: NDArray[np.uint8]) -> str:
    from PIL import Image

    data = io.BytesIO()
    picture = Image.fromarray(rgb)
    picture.thumbnail((4 * HEIGHT, 2 * HEIGHT))
    picture.save(data, "JPEG", quality=85)
    return base64.b64encode(data.getvalue()).decode()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:119] + "…"
