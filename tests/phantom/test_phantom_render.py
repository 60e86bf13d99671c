from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core import Box
from coverslip.core.errors import UsageError
from coverslip.phantom import PhantomSpec, make
from coverslip.phantom.nuclei import BLOCK


def test_same_spec_and_seed_give_same_pixels(marred):
    again = make(marred.spec, marred.seed)
    assert np.array_equal(again.render(Box(300, 300, 700, 600)), marred.render(Box(300, 300, 700, 600)))
    other = make(marred.spec, marred.seed + 1)
    assert not np.array_equal(other.render(Box(300, 300, 700, 600)), marred.render(Box(300, 300, 700, 600)))


def test_order_of_tiles_does_not_matter(marred):
    """Tiles asked for backwards from a fresh phantom make the picture asked for at once."""
    whole = marred.render(Box(0, 0, *marred.size))
    fresh = make(marred.spec, marred.seed)
    stitched = np.zeros_like(whole)
    corners = list(itertools.product(range(0, marred.spec.height, 410), range(0, marred.spec.width, 410)))
    for y, x in reversed(corners):
        width, height = min(410, marred.spec.width - x), min(410, marred.spec.height - y)
        stitched[y : y + height, x : x + width] = fresh.render(Box(x, y, width, height))
    assert np.array_equal(stitched, whole)


@settings(max_examples=25, deadline=None)
@given(x=st.integers(-300, 2300), y=st.integers(-300, 1800), w=st.integers(1, 300), h=st.integers(1, 300))
def test_any_box_is_cut_from_the_whole_and_white_outside(clean, x, y, w, h):
    whole = np.pad(_whole(clean), ((700, 700), (700, 700), (0, 0)), constant_values=255)
    assert np.array_equal(clean.render(Box(x, y, w, h)), whole[700 + y : 700 + y + h, 700 + x : 700 + x + w])


_pictures: dict[int, np.ndarray] = {}


def _whole(phantom):
    if id(phantom) not in _pictures:
        _pictures[id(phantom)] = phantom.render(Box(0, 0, *phantom.size))
    return _pictures[id(phantom)]


@pytest.mark.parametrize("factor", [2, 4, 10])
def test_downsampled_pixels_are_means(clean, factor):
    whole = _whole(clean)[: 1700 // factor * factor, : 2200 // factor * factor]
    small = clean.render(Box(0, 0, whole.shape[1], whole.shape[0]), factor)
    expected = cv2.resize(whole, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).max() <= 1


def test_enlarging_is_refused(clean):
    with pytest.raises(UsageError, match="enlarge"):
        clean.render(Box(0, 0, 10, 10), 0.5)


@pytest.mark.parametrize("name", ["clean", "marred"])
def test_no_seams_between_blocks(request, name):
    """Steps across the borders of blocks are no larger than steps elsewhere."""
    phantom = request.getfixturevalue(name)
    for picture in (_whole(phantom), _whole(phantom).transpose(1, 0, 2)):
        steps = np.abs(np.diff(picture.astype(int), axis=1)).mean(axis=(0, 2))
        borders = np.arange(BLOCK - 1, steps.size, BLOCK)
        for border in borders:
            around = np.r_[steps[border - 12 : border], steps[border + 1 : border + 13]]
            assert steps[border] < 1.15 * around.max() + 0.2


def test_no_light_is_ever_made(clean):
    glass = np.array(clean.spec.glass)
    assert (_whole(clean) <= np.ceil(glass)).all()


def test_tissue_does_not_repeat():
    """No shift makes the stroma look like itself again."""
    spec = PhantomSpec(width=6000, height=3000, tissue_share=0.7, tumour_share=0, glandular=0, holes=0)
    phantom = make(spec, 2)
    left, top, right, bottom = phantom.truth.tissue.buffer(-150).bounds
    colour = phantom.render(Box(left, top, right - left, bottom - top), 4)
    picture = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = np.fft.fft2(picture - cv2.GaussianBlur(picture, (0, 0), 12))
    match = np.fft.fftshift(np.fft.ifft2(np.abs(spectrum) ** 2).real)
    match /= match.max()
    row, column = np.array(match.shape) // 2
    match[row - 20 : row + 21, column - 20 : column + 21] = 0
    assert match.max() < 0.2


def test_fluorescence_is_dark_and_ihc_brown():
    spec = PhantomSpec(width=1200, height=1000, tissue_share=0.5, tumour_share=1.0)
    dark = make(PhantomSpec(**_fields(spec) | {"stain": "fluorescence"}), 4).render(Box(0, 0, 1200, 1000))
    assert np.median(dark) < 20
    assert dark[..., 2].max() > 120
    phantom = make(PhantomSpec(**_fields(spec) | {"stain": "ihc", "positive_share": 0.5}), 4)
    nuclei = phantom.nuclei_in(Box(0, 0, 1200, 1000))
    tumour = nuclei[nuclei["kind"] == 1]
    assert 0.4 < tumour["positive"].mean() < 0.6
    picture = phantom.render(Box(0, 0, 1200, 1000)).astype(int)
    rows, columns = tumour["y"].astype(int), tumour["x"].astype(int)
    redder = (picture[..., 0] - picture[..., 2])[rows, columns]
    assert redder[tumour["positive"]].mean() > 20
    assert redder[~tumour["positive"]].mean() < 0


def _fields(spec):
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}
