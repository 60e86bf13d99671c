"""Whole slides made small: padded, never skewed; learned, and applied by coverslip run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason='lightning is not installed: pip install "coverslip[train]"')
from click.testing import CliRunner

from coverslip.cli import main
from coverslip.core.errors import CoverslipError, MppError
from coverslip.learn import load_task
from coverslip.models.shrink import shrunk_slide
from coverslip.slides import open_slide
from coverslip.store import RunFolder

VALUES = {
    "method": "slide",
    "target": "label",
    "size": 96,
    "mpp": 8.0,
    "network": {"parameters": {"width": 8, "depths": [0, 1]}},
    "split": {"how": "holdout", "test": 0.3, "val": 0.2, "look": False},
    "final": "first",
    "fit": {"epochs": 4, "threads": 1, "batch_size": 8, "ema": 0.8, "lr": 0.005},
    "augment": {"rotate": 0, "hed": 0, "hue": 0, "blur": 0},
}


def test_learns_and_is_applied(slide_cohort: Path, task_file, tmp_path: Path) -> None:
    task = load_task(task_file(cohort=str(slide_cohort), **VALUES))
    assert task.plan().facts["method"] == "whole slides, at 8 µm per pixel"
    task.train(tmp_path / "run")
    said = RunFolder(tmp_path / "run").get(None, "predictions/label")
    assert set(said.columns) >= {"slide", "case", "patient", "fold", "truth", "probability_tumour"}
    model = tmp_path / "run/models/label"
    words = [
        "run",
        model,
        slide_cohort.parent / "s1.tif",
        "--mpp",
        "1.0",
        "-o",
        tmp_path / "new",
        "--workers",
        "0",
    ]
    result = CliRunner().invoke(main, [str(w) for w in words], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    whole = RunFolder(tmp_path / "new").get(None, "predictions/label")
    assert whole["slide"].tolist() == ["s1"]
    row = said["slide"].tolist().index("s1") if "s1" in said["slide"].tolist() else None
    if row is not None:
        assert whole["probability_tumour"][0] == pytest.approx(said["probability_tumour"][row], abs=0.02)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    import tifffile

    pixels = np.zeros((100, 400, 3), np.uint8)
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64))
    return path


def test_a_slide_is_padded_and_never_skewed(wide: Path) -> None:
    with open_slide(wide, mpp=1.0) as slide:
        fitted = shrunk_slide(slide, 80)
        scaled = shrunk_slide(slide, 80, mpp=10.0)
    for picture, height, width in ((fitted, 20, 80), (scaled, 10, 40)):
        assert picture.shape == (80, 80, 3)
        dark = picture[..., 0] < 128
        assert (dark.any(axis=1).sum(), dark.any(axis=0).sum()) == (height, width)


def test_a_slide_that_does_not_fit_is_refused(wide: Path) -> None:
    with open_slide(wide, mpp=1.0) as slide:
        with pytest.raises(MppError, match="400 pixels"):
            shrunk_slide(slide, 80, mpp=1.0)
        with pytest.raises(MppError, match="finer"):
            shrunk_slide(slide, 80, mpp=0.5)


def test_plan_refuses_what_does_not_fit(slide_cohort: Path, task_file) -> None:
    with pytest.raises(CoverslipError, match="more than size 96"):
        load_task(task_file(cohort=str(slide_cohort), **(VALUES | {"mpp": 2.0}))).plan()
