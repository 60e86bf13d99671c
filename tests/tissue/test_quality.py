"""Quality: scores of cells, what they mean for tiles, and flags against known artefacts."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core import Box, Size
from coverslip.core.errors import GeometryError, StainError, UsageError
from coverslip.phantom import make, varied
from coverslip.slides import open_slide
from coverslip.tissue import Tissue, find_tissue
from coverslip.tissue.quality import FLAGS, Quality, QualitySpec, assess
from coverslip.tissue.quality.assess import _sums
from coverslip.tissue.quality.sharpness import contrast, focus
from coverslip.tissue.tissue import table_sum


def cells_of(columns, rows, side=100.0, tissue=1.0, **raised):
    n = len(columns)
    cells = {"x": np.asarray(columns) * side, "y": np.asarray(rows) * side, "side_px": np.full(n, side)}
    cells["tissue"] = np.broadcast_to(np.float32(tissue), n).copy()
    return cells | {flag: np.asarray(raised.get(flag, np.zeros(n, bool)), bool) for flag in FLAGS}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    x=st.floats(-250, 900),
    y=st.floats(-250, 900),
    side=st.floats(10, 500),
)
def test_shares_of_tiles_are_weighted_by_the_tissue_in_each_cell(seed, x, y, side):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((7, 8)) < 0.7)
    pen, tissue = rng.random(len(rows)) < 0.4, rng.random(len(rows)).astype(np.float32)
    quality = Quality(cells_of(columns, rows, tissue=tissue, pen=pen), {})
    across = np.clip(np.minimum(columns * 100 + 100, x + side) - np.maximum(columns * 100, x), 0, None)
    down = np.clip(np.minimum(rows * 100 + 100, y + side) - np.maximum(rows * 100, y), 0, None)
    weight = across * down * tissue
    expected = weight[pen].sum() / weight.sum() if weight.sum() > 1 else None
    found = quality.at(np.array([[x, y]]), side)["pen"][0]
    if expected is not None:
        assert found == pytest.approx(expected, abs=1e-3)
        assert quality.usable_at(np.array([[x, y]]), side)[0] == pytest.approx(1 - expected, abs=1e-3)
    elif weight.sum() == 0:
        assert found == 0


def test_cells_must_be_whole():
    cells = cells_of([0], [0])
    del cells["pen"]
    with pytest.raises(GeometryError, match="lack pen"):
        Quality(cells, {})
    with pytest.raises(GeometryError, match="differ in length"):
        Quality(cells_of([0], [0]) | {"pen": np.zeros(2, bool)}, {})


@pytest.mark.parametrize("change", [{"cell_um": 5}, {"blur_below": 0}, {"covered_from": -1}])
def test_a_spec_that_cannot_be_is_refused(change):
    with pytest.raises(UsageError):
        QualitySpec(**change)


def test_focus_falls_with_blur_and_not_with_paleness(painted):
    mask = np.ones((512, 512), bool)

    def median(rgb):
        return float(np.median(focus(*contrast(rgb, 1.0, 64), noise=0.5)))

    sharp, pale = painted(mask), painted(mask, 0.3)
    blurred = [median(cv2.GaussianBlur(sharp, (0, 0), sigma)) for sigma in (1.0, 1.5, 2.0, 3.0)]
    assert blurred == sorted(blurred, reverse=True)
    assert median(sharp) > blurred[0]
    assert blurred[2] < QualitySpec().blur_below
    assert median(pale) == pytest.approx(median(sharp), rel=0.25)
    flat = np.full((128, 128, 3), 230, np.uint8)
    assert np.isnan(focus(*contrast(flat, 1.0, 64))).all()


@pytest.fixture(scope="module")
def judged():
    """Cells, their true shares and their flags, over three phantoms with every artefact."""
    rows = []
    for seed in (2, 5, 9):
        spec = replace(varied(seed, quality=True), mpp=1.0, width=2800, height=2400)
        phantom = make(spec, seed)
        slide = _slide(phantom.render(Box(0, 0, 2800, 2400)))
        quality = assess(slide, find_tissue(slide))
        rows.append((quality, _true_shares(phantom, quality)))
    return rows


def _slide(rgb):
    from coverslip.slides.slide import Slide

    from .conftest import ArrayReader

    return Slide("array.tif", ArrayReader(rgb, 1.0, (1,), set()))


def _true_shares(phantom, quality):
    x, y = quality.cells["x"], quality.cells["y"]
    truth = shapely.make_valid(phantom.truth.tissue)
    inside = shapely.intersection(shapely.box(x, y, x + quality.side_px, y + quality.side_px), truth)
    area = shapely.area(inside)
    shares = {"tissue": area / quality.side_px**2}
    for kind in ("blur", "pen", "fold", "bubble"):
        artefact = shapely.union_all(phantom.truth.artefacts.get(kind, ()))
        shares[kind] = shapely.area(shapely.intersection(inside, artefact)) / np.maximum(area, 1e-9)
    return shares


@pytest.mark.parametrize("flag", ["blur", "pen", "fold", "bubble"])
def test_flags_find_the_artefacts_of_phantoms(judged, flag):
    hits = false = missed = 0
    for quality, shares in judged:
        counted = (shares["tissue"] >= 0.1) & ((shares[flag] > 0.5) | (shares[flag] < 0.05))
        if flag == "blur":
            counted &= shares["bubble"] < 0.05
        true, ours = shares[flag][counted] > 0.5, quality.cells[flag][counted]
        hits, false, missed = (
            hits + (true & ours).sum(),
            false + (~true & ours).sum(),
            missed + (true & ~ours).sum(),
        )
    assert hits > 3
    assert 2 * hits / (2 * hits + false + missed) > 0.8


def test_the_summary_adds_up(judged):
    for quality, _ in judged:
        weight = quality.cells["tissue"]
        assert quality.summary["cells"] == len(quality)
        assert quality.summary["usable_fraction"] == pytest.approx(
            weight[quality.usable].sum() / weight.sum(), abs=1e-4
        )
        assert quality.summary["blur"] == pytest.approx(
            weight[quality.cells["blur"]].sum() / weight.sum(), abs=1e-4
        )
        assert 0.3 < quality.summary["usable_fraction"] < 1
        assert quality.summary["focus_p10"] < quality.summary["focus_median"] < quality.summary["focus_p90"]


def test_strong_weak_and_clipped_stain(slide_of, painted):
    whole = shapely.box(300, 300, 1500, 1300)
    mask = np.zeros((1600, 1800), bool)
    mask[300:1300, 300:1500] = True
    found = {}
    for strength in (0.15, 1.0, 6.0):
        slide = slide_of(painted(mask, strength))
        found[strength] = assess(slide, Tissue.from_polygons([whole], slide.size, 8.0)).summary
    assert found[0.15]["under_stained"] > 0.9
    assert found[6.0]["over_stained"] > 0.9
    assert found[1.0]["usable_fraction"] > 0.95
    black = painted(mask)
    black[500:900, 500:900] = 0
    slide = slide_of(black)
    quality = assess(slide, Tissue.from_polygons([whole], slide.size, 8.0))
    assert quality.at(np.array([[600, 600]]), 200)["saturated"][0] == 1
    assert quality.at(np.array([[1200, 600]]), 200)["saturated"][0] == 0


@pytest.mark.parametrize("ink", [(1.6, 0.95, 0.17), (1.5, 0.5, 0.9), (1.1, 1.05, 1.0)])
def test_a_fine_pen_is_found_and_dense_nuclei_are_not(slide_of, painted, ink):
    rgb = painted(np.ones((1400, 1400), bool))
    # a lymph follicle, denser than any marker in all but red
    cv2.circle(rgb, (1050, 350), 200, (62, 48, 110), cv2.FILLED)
    stroke = np.zeros(rgb.shape[:2], np.float32)
    cv2.line(stroke, (200, 250), (900, 1250), 1.0, 72)
    density = cv2.GaussianBlur(stroke, (0, 0), 5)[..., None] * np.float32(ink)
    slide = slide_of((rgb * 10**-density).astype(np.uint8), factors=(1, 4))
    quality = assess(slide, Tissue.from_polygons([shapely.box(0, 0, 1400, 1400)], slide.size, 8.0))
    corners = np.rint([quality.cells["x"], quality.cells["y"]]).astype(int).T
    side = round(quality.side_px)
    under = np.array([stroke[y : y + side, x : x + side].mean() for x, y in corners])
    assert quality.cells["pen"][under > 0.5].mean() > 0.9
    assert not quality.cells["pen"][under < 0.05].any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), reach=st.floats(2.0, 60.0))
def test_sums_by_bands_of_rows_are_those_of_one_table(seed, reach):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (1200, 90)).astype(np.uint8)
    places = rng.random((200, 2)) * (90, 1200)
    expected = table_sum(cv2.integral(image), places, reach)
    assert _sums(image, places, reach) == pytest.approx(expected, abs=1e-3)


def test_no_tissue_has_no_cells(slide_of, painted):
    slide = slide_of(painted(np.zeros((600, 600), bool)))
    quality = assess(slide, Tissue.from_polygons([], Size(600, 600), 8.0))
    assert len(quality) == 0
    assert quality.summary["usable_fraction"] == 0
    assert quality.usable_at(np.zeros((3, 2)), 50).tolist() == [1, 1, 1]


def test_a_damaged_block_is_counted(slide_of, painted):
    mask = np.ones((1536, 1536), bool)
    slide = slide_of(painted(mask), broken=[(2, 2)])
    quality = assess(slide, Tissue.from_polygons([shapely.box(0, 0, 1536, 1536)], slide.size, 8.0))
    assert quality.summary["unreadable_fraction"] == pytest.approx(1 / 36, rel=0.05)


def test_multichannel_is_refused(slide_of):
    slide = slide_of(np.zeros((300, 300, 3), np.uint8), channels=("a", "b", "c"))
    with pytest.raises(StainError):
        assess(slide, Tissue.from_polygons([shapely.box(0, 0, 200, 200)], slide.size, 8.0))


def test_nearly_nothing_is_flagged_on_a_good_real_slide(test_data):
    with open_slide(test_data / "slides/aperio/CMU-1-Small-Region.svs") as slide:
        quality = assess(slide, find_tissue(slide))
    assert quality.summary["usable_fraction"] > 0.97
    assert 0.9 < quality.summary["focus_median"] < 1.3
    assert quality.summary["cells"] > 150
