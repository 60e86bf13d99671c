"""Every measurement of objects is defined on the page of measurements."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coverslip.measure import spatial
from coverslip.measure.objects import SHAPES
from coverslip.measure.objects.amounts import PERCENTILES, PLACES
from coverslip.measure.objects.haralick import HARALICK

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "measurements.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in SHAPES if not re.fullmatch(r"fourier_[3-7]", name)])
def test_shapes_are_defined(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_stain_and_texture_are_defined() -> None:
    for name in (*(f"_p{p}`" for p in PERCENTILES), *(f"`{place}<stain>_" for place in PLACES)):
        assert name in PAGE
    assert all(f"`{name}`" in PAGE for name in HARALICK)


def test_spatial_functions_are_listed() -> None:
    functions = [name for name in spatial.__all__ if name[0].islower()]
    unlisted = {name for name in functions if f"`{name}`" not in PAGE}
    assert unlisted <= {"counts_around", "degrees"}  # helpers of the others
