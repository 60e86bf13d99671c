from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import STRtree, contains_xy
from shapely.geometry import Polygon, box, shape

from coverslip.core import Box
from coverslip.core.errors import UsageError
from coverslip.phantom import CLASSES, PhantomSpec, make
from coverslip.phantom.glands import glands_near
from coverslip.phantom.glands import outline as gland_outline
from coverslip.phantom.layout import rings_of
from coverslip.phantom.scene import Rect

FACTOR = 4


def _mask(geometry, size):
    mask = np.zeros((size[1] // FACTOR, size[0] // FACTOR), np.uint8)
    cv2.fillPoly(mask, [np.rint(ring / FACTOR - 0.5).astype(np.int32) for ring in rings_of(geometry)], 1)
    return mask > 0


def _density(phantom):
    picture = phantom.render(Box(0, 0, *phantom.size), FACTOR).astype(np.float32)
    density = -np.log10(np.maximum(picture, 1) / np.array(phantom.spec.glass, np.float32))
    return density[: phantom.size[1] // FACTOR, : phantom.size[0] // FACTOR]


def _iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_shares_are_as_asked(clean):
    truth, spec = clean.truth, clean.spec
    assert truth.tissue.area / (spec.width * spec.height) == pytest.approx(spec.tissue_share, rel=0.05)
    assert truth.tumour.area / truth.tissue.area == pytest.approx(spec.tumour_share, abs=0.04)
    assert truth.fat.area / truth.tissue.area == pytest.approx(spec.fatty, abs=0.04)
    for part in (truth.tumour, truth.fat):
        assert part.difference(truth.tissue).area < 1e-6 * part.area
    assert truth.tumour.intersection(truth.fat).area < 1e-6


def test_tissue_polygons_agree_with_the_pixels():
    """Without fat and lumens a plain threshold of optical density finds what the polygons say."""
    spec = PhantomSpec(width=2400, height=2000, tissue_share=0.4, glandular=0, tumour_share=0, n_sections=2)
    phantom = make(spec, 8)
    seen = cv2.blur(_density(phantom).sum(axis=2), (5, 5)) > 0.12
    assert _iou(seen, _mask(phantom.truth.tissue, phantom.size)) > 0.95


def test_glass_outside_tissue_is_clean(clean):
    outside = ~_mask(clean.truth.tissue.buffer(8), clean.size)
    assert _density(clean)[: outside.shape[0], : outside.shape[1]][outside].max() < 0.01


def test_number_of_sections():
    spec = PhantomSpec(width=6000, height=4000, tissue_share=0.1, n_sections=4, shape="biopsy", holes=0)
    tissue = make(spec, 3).truth.tissue
    large = [part for part in tissue.geoms if part.area > tissue.area / 20]
    assert len(large) == 4


def test_stain_vectors_follow_from_the_pixels(clean):
    """Least squares of optical density on the concentrations gives the vectors that truth states."""
    x, y = (int(v) for v in clean.truth.tumour.representative_point().coords[0])
    rect = Rect(x // 16 * 16, y // 16 * 16, 256, 256)
    stain = clean.painter.stain(rect)[..., :2].reshape(-1, 2)
    picture = clean.render(Box(*rect)).reshape(-1, 3)
    bright = picture.min(axis=1) > 25
    density = -np.log10(picture[bright] / np.array(clean.spec.glass))
    found = np.linalg.lstsq(stain[bright], density, rcond=None)[0]
    for row, vector in zip(found, clean.truth.stains.values(), strict=True):
        cosine = row @ np.array(vector) / np.linalg.norm(row)
        assert np.degrees(np.arccos(min(cosine, 1.0))) < 0.6


def test_given_stains_are_used_and_others_vary():
    given_ = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
    stains = make(PhantomSpec(width=64, height=64, stains=given_), 1).truth.stains
    for vector, wanted in zip(stains.values(), given_, strict=True):
        assert np.allclose(vector, np.array(wanted) / np.linalg.norm(wanted))
    drawn = {make(PhantomSpec(width=64, height=64), seed).truth.stains["eosin"] for seed in range(6)}
    assert len(drawn) == 6


def test_nuclei_are_where_haematoxylin_is(clean):
    box = Box(0, 0, *clean.size)
    nuclei = clean.nuclei_in(box)
    seen = {CLASSES[kind] for kind in np.unique(nuclei["kind"])}
    assert seen >= {"epithelial", "tumour", "lymphocyte", "stromal"}
    assert nuclei.size > 1000
    vectors = np.array(list(clean.truth.stains.values()))
    picture = clean.render(box)
    density = -np.log10(np.maximum(picture, 1) / np.array(clean.spec.glass))
    blue = (density.reshape(-1, 3) @ np.linalg.pinv(vectors))[:, 0].reshape(picture.shape[:2])
    at = blue[nuclei["y"].astype(int), nuclei["x"].astype(int)]
    labels, _ = clean.instance_mask(box)
    tissue = np.kron(_mask(clean.truth.tissue, clean.size), np.ones((FACTOR, FACTOR), bool))
    between = blue[: tissue.shape[0], : tissue.shape[1]]
    between = between[tissue & (labels[: tissue.shape[0], : tissue.shape[1]] == 0)]
    assert np.median(at) > 4 * np.median(between)
    assert (at > np.percentile(between, 90)).mean() > 0.97


def test_nuclei_lie_in_tissue_and_their_own_compartment(clean):
    nuclei = clean.nuclei_in(Box(0, 0, *clean.size))
    assert contains_xy(clean.truth.tissue, nuclei["x"], nuclei["y"]).mean() > 0.995
    tumour = nuclei[nuclei["kind"] == CLASSES.index("tumour")]
    assert contains_xy(clean.truth.tumour, tumour["x"], tumour["y"]).all()
    epithelial = nuclei[nuclei["kind"] == CLASSES.index("epithelial")]
    from shapely.ops import unary_union

    walls = unary_union([gland.buffer(0) for gland in clean.truth.glands])
    assert contains_xy(walls, epithelial["x"], epithelial["y"]).all()
    stromal = nuclei[nuclei["kind"] == CLASSES.index("stromal")]
    assert not contains_xy(walls, stromal["x"], stromal["y"]).any()


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-100, 2200),
    y=st.floats(-100, 1700),
    w=st.floats(1, 900),
    h=st.floats(1, 900),
    cut=st.floats(0.1, 0.9),
)
def test_parts_of_a_box_share_its_nuclei_without_loss_or_double(clean, x, y, w, h, cut):
    whole = clean.nuclei_in(Box(x, y, w, h))
    left, right = clean.nuclei_in(Box(x, y, w * cut, h)), clean.nuclei_in(Box(x + w * cut, y, w - w * cut, h))
    parts = np.concatenate([left, right])
    assert sorted(map(tuple, parts.tolist())) == sorted(map(tuple, whole.tolist()))


def test_listing_by_block_is_the_same_as_by_box(clean):
    listed = sum(block.size for block in clean.truth.nuclei())
    assert listed == clean.nuclei_in(Box(0, 0, *clean.size)).size == sum(clean.truth.counts().values())


@settings(max_examples=20, deadline=None)
@given(x=st.integers(200, 1500), y=st.integers(200, 1100), w=st.integers(20, 300), h=st.integers(20, 300))
def test_instance_masks_are_cut_from_one_picture(clean, x, y, w, h):
    """A pixel shows the same nucleus whichever box is asked for."""
    labels, nuclei = clean.instance_mask(Box(x, y, w, h))
    wide_labels, wide = clean.instance_mask(Box(x - 60, y - 40, w + 100, h + 90))
    cut = wide_labels[40 : 40 + h, 60 : 60 + w]
    assert np.array_equal(labels > 0, cut > 0)
    shown = labels > 0
    assert np.array_equal(nuclei[labels[shown] - 1], wide[cut[shown] - 1])


@pytest.mark.parametrize("stain", ["he", "ihc"])
def test_of_two_nuclei_that_overlap_the_darker_is_shown(stain):
    levels = (0.4, 0.3, 0.3) if stain == "ihc" else None
    phantom = make(PhantomSpec(700, 600, tissue_share=0.7, tumour_share=0.9, stain=stain, levels=levels), 3)
    labels, nuclei = phantom.instance_mask(Box(0, 0, 700, 600))
    dark = phantom.painter.darkness(nuclei)
    masks = phantom.scene.sprites.masks
    shared = 0
    for row in range(len(nuclei)):
        mask = masks[nuclei["sprite"][row]]
        half = mask.shape[0] // 2
        y, x = np.nonzero(mask) + np.floor([nuclei["y"][row], nuclei["x"][row]]).astype(int)[:, None] - half
        on = (y >= 0) & (x >= 0) & (y < 600) & (x < 700)
        shown = labels[y[on], x[on]] - 1
        assert (dark[shown] >= dark[row]).all()
        shared += int((shown != row).sum())
    assert shared > 200  # there are overlaps to speak of


def test_outlines_masks_and_axes_agree(clean):
    x, y = (int(v) for v in clean.truth.tumour.representative_point().coords[0])
    box = Box(x - 200, y - 200, 400, 400)
    labels, nuclei = clean.instance_mask(box)
    columns, rows = np.meshgrid(np.arange(400) + box.x + 0.5, np.arange(400) + box.y + 0.5)
    angles, axes = clean.truth.angles(nuclei), clean.truth.axes(nuclei)
    checked = 0
    for number, nucleus in enumerate(nuclei, start=1):
        outline = clean.truth.outline(nucleus)
        drawn = contains_xy(Polygon(outline), columns, rows)
        whole = (outline > (box.x, box.y)).all() and (outline < (box.right, box.bottom)).all()
        if not whole or not np.isin(labels[drawn], (0, number)).all():
            continue
        checked += 1
        assert _iou(drawn, labels == number) > 0.85
        assert drawn.sum() == pytest.approx(np.pi * axes[number - 1].prod(), rel=0.35)
        spokes = outline - (nucleus["x"], nucleus["y"])
        far = spokes[np.linalg.norm(spokes, axis=1).argmax()]
        if axes[number - 1, 1] < 0.6 * axes[number - 1, 0]:
            assert abs(np.sin(np.arctan2(far[1], far[0]) - angles[number - 1])) < 0.5
    assert checked > 30


def test_glands_lie_in_tissue_apart_from_each_other_and_have_lumens():
    spec = PhantomSpec(width=5000, height=4000, tissue_share=0.6, tumour_share=0.1, glandular=1.0)
    phantom = make(spec, 6)
    glands = phantom.truth.glands
    assert len(glands) > 80
    assert all(gland.is_valid and len(gland.interiors) == 1 for gland in glands)
    assert all(phantom.truth.tissue.contains(Polygon(gland.exterior)) for gland in glands)
    tree = STRtree(glands)
    one, other = tree.query(glands, predicate="intersects")
    shared = sum(glands[i].intersection(glands[j]).area for i, j in zip(one, other, strict=True) if i < j)
    assert shared < 0.005 * sum(gland.area for gland in glands)


@settings(max_examples=25, deadline=None)
@given(x=st.floats(0, 2000), y=st.floats(0, 1500), w=st.floats(1, 700), h=st.floats(1, 700))
def test_a_gland_is_found_from_any_box_that_it_touches(clean, x, y, w, h):
    everywhere = glands_near(clean.scene, 0, 0, 2200, 1700)
    found = glands_near(clean.scene, x, y, x + w, y + h)
    place = box(x, y, x + w, y + h)
    touching = [gland for gland in everywhere if Polygon(gland_outline(gland)).intersects(place)]
    listed = {(gland["column"], gland["row"]) for gland in found}
    assert {(gland["column"], gland["row"]) for gland in touching} <= listed
    wider = glands_near(clean.scene, -900, -900, 4000, 4000)
    assert listed <= {(gland["column"], gland["row"]) for gland in wider}


def test_masks_between_pixels_are_refused(clean):
    with pytest.raises(UsageError, match="between pixels"):
        clean.instance_mask(Box(0.5, 0, 10, 10))


@pytest.mark.parametrize("kind", ["pen", "fold", "bubble", "blur", "over_stained", "under_stained", "dust"])
def test_artefacts_change_the_pixels_where_truth_says_and_nowhere_else(kind):
    fields = {"width": 1600, "height": 1300, "tissue_share": 0.6, "noise": 0.0, "tumour_share": 0.2}
    plain = make(PhantomSpec(**fields), 6)
    spoilt = make(PhantomSpec(**fields, artefacts=((kind, 2),)), 6)
    polygons = spoilt.truth.artefacts[kind]
    assert len(polygons) == 2
    box = Box(0, 0, *plain.size)
    change = np.abs(plain.render(box).astype(int) - spoilt.render(box)).max(axis=2)[::FACTOR, ::FACTOR]
    from shapely.ops import unary_union

    inside = _mask(unary_union(polygons).buffer(-6 if kind != "dust" else 0), plain.size)
    outside = ~_mask(unary_union(polygons).buffer(120), plain.size)
    assert np.mean(change[inside] > 2) > 0.6
    assert change[outside].max() <= 1


def test_pen_ink_hides_or_tints():
    strengths = []
    for seed in range(8):
        phantom = make(PhantomSpec(width=900, height=700, n_sections=0, artefacts=(("pen", 1),)), seed)
        polygon = phantom.truth.artefacts["pen"][0]
        inside = _mask(polygon.buffer(-12), phantom.size)
        strengths.append(_density(phantom)[: inside.shape[0]][inside].max(axis=1).mean())
    assert min(strengths) < 0.8
    assert max(strengths) > 1.1


def test_truth_as_geojson(marred, tmp_path):
    found = json.loads(marred.truth.save(tmp_path / "truth.json").read_text())
    assert found["type"] == "FeatureCollection"
    shapes = [(f["properties"]["classification"]["name"], shape(f["geometry"])) for f in found["features"]]
    wanted = {"tissue", "tumour", "blur", "pen", "fold", "bubble", "over_stained", "under_stained"}
    assert {name for name, _ in shapes} >= wanted
    tissue = sum(part.area for name, part in shapes if name == "tissue")
    assert tissue == pytest.approx(marred.truth.tissue.area, rel=1e-9)
    assert found["phantom"]["nuclei"] == marred.truth.counts()
    assert found["phantom"]["spec"]["width"] == marred.spec.width
