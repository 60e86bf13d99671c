"""Deep learning for whole-slide pathology, from glass to second opinion.

cohort → slide → tissue → tiles → features and maps → predictions → measurements → evaluation → report
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coverslip._version import __version__

if TYPE_CHECKING:
    from coverslip.core import Box, Region
    from coverslip.slides import Slide, open_slide

__all__ = ["Box", "Region", "Slide", "__version__", "open_slide"]

_HOME = {
    "Box": "coverslip.core",
    "Region": "coverslip.core",
    "Slide": "coverslip.slides",
    "open_slide": "coverslip.slides",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import coverslip`` stays instant."""
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'coverslip' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
