"""What the package promises as a whole: it starts fast, loads nothing heavy, and ships what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import coverslip

ROOT = Path(__file__).parents[1]
ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "coverslip").glob("*/__init__.py"))
HEAVY = {
    *("torch", "timm", "onnxruntime", "openvino", "matplotlib", "zarr", "h5py", "pyarrow", "pandas", "scipy"),
    *(
        "sklearn",
        "skimage",
        "wsidicom",
        "pydicom",
        "openslide",
        "pydantic",
        "rich",
        "dask",
        "distributed",
        "jinja2",
    ),
}
"""What only the function that needs it may import."""

STARTS = {
    "import coverslip": "import coverslip",
    "coverslip --help": "import sys; sys.argv[1:] = ['--help']; from coverslip.cli import main; main()",
}
LIMIT_S = 0.3


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )


def cpu_seconds(code: str) -> float:
    """Processor time of a fresh interpreter: what a busy machine does not change much."""
    before = os.times()
    python(code)
    after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system


@pytest.mark.parametrize("code", STARTS.values(), ids=STARTS)
def test_starts_in_under_0_3_s(code: str) -> None:
    python(code)  # warms the disk cache and the compiled modules
    assert min(cpu_seconds(code) for _ in range(5)) < LIMIT_S


@pytest.mark.parametrize("code", STARTS.values(), ids=STARTS)
def test_start_loads_nothing_heavy(code: str) -> None:
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_load_nothing_heavy(room: str) -> None:
    assert loaded_by(f"import coverslip.{room}") & HEAVY == set()


def loaded_by(code: str) -> set[str]:
    """Top-level packages that are in memory after running `code`."""
    spy = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules))); {code}"
    return {name.partition(".")[0] for name in python(spy).stderr.split()}


def test_import_leaves_no_trace(tmp_path: Path) -> None:
    """OpenCV adds its own folder to LD_LIBRARY_PATH; nothing else may change."""
    code = (
        "import os, logging; before = dict(os.environ); import coverslip; coverslip.open_slide; "
        "changed = {name for name, value in os.environ.items() if before.get(name) != value}; "
        "assert changed <= {'LD_LIBRARY_PATH'}, changed; "
        "assert not logging.getLogger().handlers and os.listdir() == []"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)


def test_public_names_are_those_of_all() -> None:
    assert dir(coverslip) == sorted(coverslip.__all__)
    for name in coverslip.__all__:
        assert getattr(coverslip, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'open_sldie'"):
        _ = coverslip.open_sldie


def test_version_is_that_of_the_distribution() -> None:
    assert coverslip.__version__ == version("coverslip")
    assert f"## [{coverslip.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"version: {coverslip.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def ours() -> list:
    points = [p for group in ("console_scripts", *plugin_groups()) for p in entry_points(group=group)]
    return [p for p in points if p.dist is not None and p.dist.name == "coverslip"]


def plugin_groups() -> list[str]:
    return sorted(group for group in entry_points().groups if group.startswith("coverslip."))


@pytest.mark.parametrize("point", ours(), ids=lambda p: f"{p.group}:{p.name}")
def test_entry_points_resolve(point) -> None:
    assert callable(point.load())


def test_wheel_holds_the_package_whole(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.build", reason="hatchling is not installed")
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        wheel = tmp_path / hatchling.build_wheel(str(tmp_path))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("coverslip/")}
    sources = (path for path in (ROOT / "src" / "coverslip").rglob("*") if path.is_file())
    sources = (path for path in sources if "__pycache__" not in path.parts)
    expected = {p.relative_to(ROOT / "src").as_posix() for p in sources}
    assert "coverslip/py.typed" in packed
    assert packed == expected
