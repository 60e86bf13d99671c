"""The outline of a mask: its area is its pixels, whatever its form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from scipy import ndimage

from coverslip.annotations import outline, vectorise
from coverslip.core.errors import GeometryError


@settings(max_examples=200, deadline=None)
@given(st_numpy.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(np.any))
def test_it_holds_the_largest_area_and_what_that_shuts_in(mask: np.ndarray) -> None:
    areas, _ = ndimage.label(mask)
    sizes = np.bincount(areas.ravel())[1:]
    shapes = {
        ndimage.binary_fill_holes(areas == k + 1, np.ones((3, 3))).sum()
        for k in np.flatnonzero(sizes == sizes.max())
    }
    found = outline(mask, (5, 7))
    assert found.is_valid
    assert found.geom_type == "Polygon"
    assert not found.interiors
    bays = {ndimage.binary_fill_holes(areas == k + 1).sum() for k in np.flatnonzero(sizes == sizes.max())}
    assert round(found.area) == found.area
    assert min(shapes | bays) <= found.area <= max(shapes | bays)


def test_it_is_the_outline_that_vectorise_draws() -> None:
    y, x = np.mgrid[:40, :50]
    disc = np.hypot(x - 24.3, (y - 17.8) * 1.4) < 15.2
    other = vectorise(disc.astype(int), classes={"nucleus": 1}).shapes[0].geometry
    assert outline(disc).equals(other)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(GeometryError, match="empty"):
        outline(np.zeros((3, 3), bool))
