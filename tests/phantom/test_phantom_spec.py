from __future__ import annotations

import pytest

from coverslip.core.errors import MppError, UnknownNameError, UsageError
from coverslip.phantom import KINDS, PhantomSpec, make, varied


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 10},
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
