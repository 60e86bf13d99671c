"""Artefacts: pen, folds, bubbles, blur and the like, at known places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Artefact:
    """One artefact: kind (see `coverslip.phantom.spec.KINDS`), shapely polygon in level-0 pixels, and how it looks."""

    kind: str
    polygon: Any
    look: dict[str, Any] = field(default_factory=dict)
