"""Finding tissue: on painted slides, on phantoms, on real ones."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import shapely

from coverslip.core import Box
from coverslip.core.errors import MissingMppError, StainError, UsageError
from coverslip.phantom import make, varied
from coverslip.slides import open_slide
from coverslip.tissue import TissueSpec, find_tissue, illumination

GREEN_INK = np.array([0.90, 0.28, 0.55])


def ellipse(height, width, centre, axes):
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, cv2.FILLED)
    return mask.astype(bool)


def agreement(tissue, mask):
    """Return intersection over union of the found polygons with a level-0 mask."""
    step = tissue.downsample
    rows = ((np.arange(tissue.mask.shape[0]) + 0.5) * step).astype(int).clip(0, mask.shape[0] - 1)
    columns = ((np.arange(tissue.mask.shape[1]) + 0.5) * step).astype(int).clip(0, mask.shape[1] - 1)
    true = mask[rows][:, columns]
    return np.sum(true & tissue.mask) / np.sum(true | tissue.mask)


@pytest.mark.parametrize(
    ("strength", "colour"), [(1.0, (243, 242, 240)), (0.15, (243, 242, 240)), (0.5, (225, 215, 195))]
)
def test_a_piece_with_a_hole_is_found_whatever_the_stain_and_the_glass(slide_of, painted, strength, colour):
    mask = ellipse(1600, 2000, (1000, 800), (700, 500)) & ~ellipse(1600, 2000, (900, 800), (160, 130))
    tissue = find_tissue(slide_of(painted(mask, strength, colour)))
    assert agreement(tissue, mask) > 0.95
    assert len(tissue.polygons) == 1
    assert len(tissue.polygons[0].interiors) == 1
    assert tissue.polygons[0].is_valid
    assert not tissue.notes


def test_the_result_does_not_depend_on_the_pyramid(slide_of, painted):
    mask = ellipse(2048, 2048, (1000, 1000), (700, 500))
    rgb = painted(mask)
    shares = [
        agreement(find_tissue(slide_of(rgb, factors=f)), mask) for f in ((1,), (1, 4, 16), (1, 8), (1, 32))
    ]
    assert min(shares) > 0.96
    assert max(shares) - min(shares) < 0.02


@pytest.mark.parametrize("side", [9, 17, 40, 61])
def test_where_windows_end_does_not_matter(slide_of, painted, monkeypatch, side):
    """Some small windows are touched by the tissue's border between two pixels' centres alone."""
    slide = slide_of(painted(ellipse(1610, 1990, (1000, 800), (700, 500))), factors=(1, 8, 32))
    whole = find_tissue(slide).mask
    monkeypatch.setattr("coverslip.tissue.find.REFINE", side)
    assert (find_tissue(slide).mask == whole).mean() > 0.99  # the blur sees a pixel less at an edge


def test_uneven_light_is_not_tissue(slide_of, painted):
    mask = ellipse(2000, 2000, (1000, 1000), (500, 400))
    y, x = np.mgrid[-1:1:2000j, -1:1:2000j]
    light = 1 - 0.12 * (x**2 + y**2)
    rgb = (painted(mask, 0.4) * light[..., None]).astype(np.uint8)
    assert agreement(find_tissue(slide_of(rgb)), mask) > 0.93


def test_dust_scratches_and_coverslip_edges_are_not_tissue(slide_of, painted):
    mask = ellipse(1600, 2000, (1000, 800), (500, 400))
    rgb = painted(mask)
    cv2.line(rgb, (60, 0), (90, 1599), (120, 118, 116), 16)
    cv2.line(rgb, (200, 1500), (400, 1300), (60, 60, 60), 8)
    for x, y in ((1800, 200), (1700, 1400), (300, 200)):
        cv2.circle(rgb, (x, y), 40, (70, 60, 50), cv2.FILLED)
    assert agreement(find_tissue(slide_of(rgb)), mask) > 0.95


def test_ink_on_glass_is_left_out_and_tissue_under_ink_kept(slide_of, painted):
    mask = ellipse(1600, 2400, (900, 800), (600, 450))
    stroke = np.zeros(mask.shape, np.float32)
    cv2.line(stroke, (700, 500), (2300, 1300), 1.0, 160)
    stroke = cv2.GaussianBlur(stroke, (0, 0), 3)
    rgb = (painted(mask) * 10 ** (-stroke[..., None] * GREEN_INK)).astype(np.uint8)
    tissue = find_tissue(slide_of(rgb))
    assert agreement(tissue, mask) > 0.94
    assert any("ink" in note for note in tissue.notes)
    assert tissue.share_in(np.array([[2000, 1100]]), 100)[0] == 0
    assert tissue.share_in(np.array([[750, 500]]), 100)[0] == 1


def test_no_tissue_is_an_empty_tissue_with_a_note(slide_of, painted):
    tissue = find_tissue(slide_of(painted(np.zeros((1000, 1200), bool))))
    assert tissue.empty
    assert tissue.boxes() == ()
    assert "no tissue found" in tissue.notes
    assert not tissue.mask.any()


def test_a_slide_of_nothing_but_tissue(slide_of, painted):
    tissue = find_tissue(slide_of(painted(np.ones((1500, 1500), bool))))
    assert tissue.mask.mean() > 0.97
    assert any("glass" in note for note in tissue.notes)


def test_a_damaged_block_stays_glass_and_is_noted(slide_of, painted):
    mask = ellipse(2048, 2048, (1000, 1000), (800, 700))
    tissue = find_tissue(slide_of(painted(mask), broken=[(3, 3), (4, 3), (3, 4), (4, 4)]))
    mask[768:1280, 768:1280] = False
    assert agreement(tissue, mask) > 0.95
    assert any("decoded" in note for note in tissue.notes)
    assert tissue.share_in(np.array([[900, 900]]), 250)[0] < 0.1


def test_fluorescence_and_sixteen_bits_are_refused_in_words(slide_of):
    dark = np.full((600, 600, 3), 5, np.uint8)
    dark[200:300, 200:300, 2] = 200
    with pytest.raises(StainError, match="fluorescence"):
        find_tissue(slide_of(dark))
    with pytest.raises(StainError, match="8-bit RGB"):
        find_tissue(slide_of(dark, channels=("DAPI", "FITC", "Cy3")))


def test_a_slide_without_mpp_is_refused(slide_of, painted):
    with pytest.raises(MissingMppError):
        find_tissue(slide_of(painted(np.zeros((300, 300), bool)), mpp=None))


def test_illumination_of_thumbnails():
    bright = np.full((50, 50, 3), 240, np.uint8)
    bright[10:40, 10:40] = (150, 60, 120)
    framed = np.zeros((80, 80, 3), np.uint8)
    framed[20:70, 20:70] = bright
    assert illumination(bright) == illumination(framed) == "brightfield"
    assert illumination(np.zeros((9, 9, 3), np.uint8)) == "fluorescence"


@pytest.mark.parametrize(
    "change", [{"mpp": 0}, {"min_area_um2": -1}, {"faintest": float("nan")}, {"mpp": 32.0}]
)
def test_a_spec_that_cannot_be_is_refused(change):
    with pytest.raises(UsageError, match=r"TissueSpec|finer"):
        TissueSpec(**change)


@pytest.mark.parametrize("seed", range(6))
def test_phantoms_of_six_kinds(slide_of, seed):
    """Resection, sections, biopsies, fat, faint stain and pen; smaller and coarser than in the benchmark."""
    spec = replace(varied(seed), mpp=1.0, width=2400, height=2000)
    phantom = make(spec, seed)
    tissue = find_tissue(slide_of(phantom.render(Box(0, 0, 2400, 2000)), mpp=1.0))
    ours, truth = shapely.union_all(tissue.polygons), shapely.make_valid(phantom.truth.tissue)
    both = truth.intersection(ours).area
    assert both / (truth.area + ours.area - both) > 0.9


def test_real_slides(test_data):
    with open_slide(test_data / "slides/aperio/CMU-1-Small-Region.svs") as slide:
        tissue = find_tissue(slide)
        assert len(tissue.polygons) == 1
        assert 0.38 < tissue.area_px / (slide.size.width * slide.size.height) < 0.42
        assert tissue.share_in(np.array([[100, 2000], [1900, 200]]), 200).max() == 0
    with open_slide(test_data / "slides/generic_tiff/histolab_kidney-48-5_HE.tif", mpp=8.0) as slide:
        (box,) = find_tissue(slide).boxes()
        assert box.intersection(Box(284, 503, 118, 65)) is not None
        assert 100 < box.width < 130
        assert 55 < box.height < 75
    with open_slide(test_data / "slides/hamamatsu/test3-DAPI-387.ndpi") as slide, pytest.raises(StainError):
        find_tissue(slide)
