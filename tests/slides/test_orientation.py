"""The eight orientations: windows of the shown picture against turning the whole one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from coverslip.core import Size
from coverslip.slides.orientation import TURNS, shown_size, stored_window, turned

orientations = st.sampled_from(sorted(TURNS))


@given(data=st.data(), orientation=orientations, width=st.integers(1, 30), height=st.integers(1, 30))
def test_a_window_equals_that_of_the_turned_picture(data, orientation, width, height):
    stored = np.arange(width * height, dtype=np.int32).reshape(height, width, 1)
    whole = turned(stored, orientation)
    shown = shown_size(Size(width, height), orientation)
    assert whole.shape[:2] == (shown.height, shown.width)
    x, y = data.draw(st.integers(0, shown.width - 1)), data.draw(st.integers(0, shown.height - 1))
    size = Size(data.draw(st.integers(1, shown.width - x)), data.draw(st.integers(1, shown.height - y)))
    left, top, cut = stored_window(x, y, size, Size(width, height), orientation)
    window = turned(stored[top : top + cut.height, left : left + cut.width], orientation)
    np.testing.assert_array_equal(window, whole[y : y + size.height, x : x + size.width])


@pytest.mark.parametrize("orientation", sorted(TURNS))
def test_equals_pillows_reading_of_exif(orientation):
    stored = np.arange(24, dtype=np.uint8).reshape(4, 6)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(turned(stored[..., None], orientation)[..., 0], expected)


def test_all_eight_differ():
    stored = np.arange(6).reshape(2, 3, 1)
    assert len({(turned(stored, o).shape, turned(stored, o).tobytes()) for o in TURNS}) == 8
