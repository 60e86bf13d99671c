"""A slide shows itself in a notebook: its thumbnail beside its facts."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

from coverslip.core.errors import SlideError

if TYPE_CHECKING:
    from coverslip.slides.slide import Slide

THUMBNAIL = 320
"""Longer side of the thumbnail in pixels."""

QUALITY = 85


def slide_html(slide: Slide) -> str:
    """Return a self-contained HTML fragment: thumbnail, facts, warnings."""
    facts = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in _rows(slide)
    )
    doubts = "".join(f"<li>{html.escape(text)}</li>" for text in slide.warnings)
    return (
        "<div style='display:flex;gap:1em;align-items:flex-start'>"
        f"{_picture(slide)}<div><table>{facts}</table>{f'<ul>{doubts}</ul>' if doubts else ''}</div></div>"
    )


def _rows(slide: Slide) -> list[tuple[str, str]]:
    scale = "not stated" if slide.mpp is None else f"{slide.mpp:.4g} (from {slide.scale.source})"
    power = slide.facts.objective_power
    return [
        ("slide", slide.id),
        ("size", f"{slide.size.width} × {slide.size.height} px"),
        ("mpp", scale),
        ("objective", "not stated" if power is None else f"{power:g}x"),
        ("levels", ", ".join(f"{level.downsample:.4g}" for level in slide.levels)),
        ("vendor", f"{slide.facts.vendor} ({slide.reader.name} reader)"),
        ("channels", f"{', '.join(slide.facts.channels)} · {slide.facts.dtype}"),
        ("associated", ", ".join(slide.facts.associated) or "none"),
    ]


def _picture(slide: Slide) -> str:
    import imagecodecs

    try:
        pixels = slide.thumbnail(THUMBNAIL)
    except SlideError as error:
        return f"<p>{html.escape(str(error))}</p>"
    data = base64.b64encode(imagecodecs.jpeg8_encode(pixels, level=QUALITY)).decode()
    return f"<img alt='{html.escape(slide.id)}' src='data:image/jpeg;base64,{data}'>"
