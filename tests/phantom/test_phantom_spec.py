from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core import Box
from coverslip.core.errors import MppError, UnknownNameError, UsageError
from coverslip.phantom import KINDS, PhantomSpec, make, varied


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 10},
        {"mpp": 20.0},
        {"height": 10**7},
        {"tissue_share": 0.95},
        {"tissue_share": float("nan")},
        {"tumour_share": -0.1},
        {"faint": 1.0},
        {"glass": (300.0, 240.0, 240.0)},
        {"artefacts": (("pen", -1),)},
        {"stains": ((0.0, 0.0, 0.0), (0.1, 0.9, 0.1))},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="expected"):
        PhantomSpec(**wrong)


@pytest.mark.parametrize("wrong", [{"shape": "biopsi"}, {"stain": "hes"}, {"artefacts": (("pens", 1),)}])
def test_unknown_names_are_refused_with_the_nearest(wrong):
    with pytest.raises(UnknownNameError, match="There are"):
        PhantomSpec(**wrong)


def test_an_implausible_mpp_is_refused():
    with pytest.raises(MppError):
        PhantomSpec(mpp=500.0)


@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(64, 600),
    height=st.integers(64, 600),
    mpp=st.sampled_from([0.5, 1.0, 2.5]),
    share=st.floats(0, 0.8),
    sections=st.integers(0, 20),
    shape=st.sampled_from(["resection", "biopsy"]),
    parts=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_any_spec_within_range_can_be_made(width, height, mpp, share, sections, shape, parts):
    spec = PhantomSpec(
        width=width,
        height=height,
        mpp=mpp,
        tissue_share=share,
        n_sections=sections,
        shape=shape,
        holes=2.0,
        tumour_share=parts[0],
        fatty=parts[1],
        glandular=parts[2],
        artefacts=tuple((kind, 1) for kind in KINDS),
    )
    phantom = make(spec, 1)
    assert phantom.render(Box(0, 0, width, height), 2).shape == (*Box(0, 0, width, height).pixels(2)[::-1], 3)
    assert phantom.truth.tissue.is_valid
    assert phantom.truth.to_json()["type"] == "FeatureCollection"


def test_varied_slides_differ_and_cover_what_they_promise():
    specs = [varied(seed) for seed in range(30)]
    assert len(set(specs)) == 30
    assert sum(spec.faint > 0.4 for spec in specs) >= 5
    assert sum(spec.fatty > 0.3 for spec in specs) >= 5
    assert sum(spec.shape == "biopsy" for spec in specs) >= 5
    assert {kind for spec in specs for kind, _ in spec.artefacts} >= {"pen", "dust", "coverslip_edge"}
    assert {spec.mpp for spec in specs} == {0.25, 0.5, 1.0}


def test_quality_slides_have_each_artefact_that_quality_control_must_find():
    for seed in range(8):
        spec = varied(seed, quality=True)
        assert all(spec.count(kind) for kind in ("blur", "pen", "fold", "bubble"))


def test_an_empty_slide_has_glass_and_dirt_only():
    kinds = tuple((kind, 1) for kind in KINDS)
    phantom = make(PhantomSpec(width=700, height=600, n_sections=0, artefacts=kinds), 3)
    assert phantom.truth.tissue.is_empty
    assert phantom.truth.glands == ()
    assert sum(phantom.truth.counts().values()) == 0
    assert set(phantom.truth.artefacts) == {"pen", "bubble", "dust", "coverslip_edge"}
