"""What is installed, for ``coverslip doctor``."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from coverslip._version import __version__
from coverslip.core import plugins
from coverslip.pipeline.recipe import built_in
from coverslip.slides import reader_report

EXTRAS = {
    "distributed": ("cluster", "coverslip run --cluster ADDRESS"),
    "s3fs": ("remote", "slides on s3://"),
    "aiohttp": ("remote", "slides on https://"),
    "torch": ("torch", "coverslip run embed"),
    "timm": ("torch", "coverslip run embed"),
    "openvino": ("openvino", "coverslip run embed --backend openvino"),
    "onnxruntime": ("onnx", "coverslip run embed --backend onnx"),
}


def health() -> dict[str, Any]:
    """Return system, readers, extras, stages, recipes, versions and problems, as plain values."""
    readers = reader_report()
    problems = [f"reader {row['name']}: {row['problem']}" for row in readers if not row["available"]]
    versions = {name: _version(name) for name in _needed()}
    problems += [
        f"{name} is missing: pip install {name}" for name, found in versions.items() if found is None
    ]
    return {
        "system": {
            "coverslip": __version__,
            "python": f"{platform.python_version()} ({sys.executable})",
            "system": platform.platform(),
            "processors": str(os.cpu_count()),
        },
        "readers": readers,
        "extras": [_extra(name, *what) for name, what in EXTRAS.items()],
        "stages": sorted(plugins("stages")),
        "recipes": sorted(built_in()),
        "versions": {name: found or "missing" for name, found in versions.items()},
        "problems": problems,
    }


def _extra(name: str, extra: str, purpose: str) -> dict[str, Any]:
    found = _version(name)
    problem = "" if found else f'pip install "coverslip[{extra}]"'
    return {"name": name, "version": found, "for": purpose, "problem": problem}


def _needed() -> list[str]:
    """Return the names of what Coverslip itself depends on."""
    lines = requires("coverslip") or []
    names = [line.partition(";")[0] for line in lines if "extra ==" not in line]
    return sorted({name.split(">")[0].split("=")[0].split("[")[0].strip() for name in names})


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
