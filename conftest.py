"""Which modules' doctests are not even collected: those of extras that are not installed here.

Tests of such a module skip by themselves, and name the extra.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

OPTIONAL = ("torch", "timm", "openvino", "onnx", "onnxruntime", "dask", "distributed", "s3fs")
SOURCE = Path(__file__).parent / "src"


def imported_at_top(path: Path) -> set[str]:
    """Return the packages that a module imports as it is imported itself."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


missing = {name for name in OPTIONAL if find_spec(name) is None}
collect_ignore = [str(path) for path in SOURCE.rglob("*.py") if missing and imported_at_top(path) & missing]
