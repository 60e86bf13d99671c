"""Small phantom slides, and the command line in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def coverslip() -> Callable[..., Said]:
    """Run a command line: ``coverslip("info", path)``."""
    from click.testing import CliRunner

    from coverslip.cli import main

    def run(*words: object) -> Said:
        result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of 1280 × 1024 px at 0.5 mpp, half of it tissue."""
    from coverslip.phantom import PhantomSpec, make, write_slide

    spec = PhantomSpec(width=1280, height=1024, tissue_share=0.5)
    return write_slide(make(spec, 3), tmp_path_factory.mktemp("phantom") / "phantom.svs")


@pytest.fixture
def copy(phantom: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copy the phantom into ``slides/`` under a name."""

    def copied(name: str) -> Path:
        target = tmp_path / "slides" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(phantom, target)
        return target

    return copied


@pytest.fixture
def scaleless(phantom: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Write the phantom's pixels as a plain TIFF that states no scale, into ``slides/``."""
    import tifffile

    from coverslip.core import Box
    from coverslip.slides import open_slide

    def written(name: str) -> Path:
        target = tmp_path / "slides" / name
        target.parent.mkdir(exist_ok=True)
        with open_slide(phantom) as slide:
            pixels = slide.read_at(Box(0, 0, *slide.size), 1)
        tifffile.imwrite(
            target, pixels, photometric="rgb", tile=(256, 256), compression="jpeg", metadata=None
        )
        return target

    return written
