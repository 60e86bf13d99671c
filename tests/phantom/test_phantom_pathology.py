"""Phantoms with pathology: what the spec asks for is what the truth tells, and what the picture shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from coverslip.core import Box
from coverslip.core.errors import UsageError
from coverslip.phantom import CLASSES, PhantomSpec, make

SPEC = PhantomSpec(width=1200, height=1000, tissue_share=0.7, holes=0, tumour_share=0.6)


def nuclei(spec: PhantomSpec, seed: int = 5) -> np.ndarray:
    return np.concatenate(list(make(spec, seed).truth.nuclei()))


def test_levels_are_shared_out_among_positive_nuclei() -> None:
    found = nuclei(replace(SPEC, stain="ihc", positive_share=0.6, levels=(0.5, 0.3, 0.2)))
    tumour = found[found["kind"] == CLASSES.index("tumour")]
    shares = np.bincount(tumour["level"], minlength=4) / len(tumour)
    assert shares == pytest.approx([0.4, 0.3, 0.18, 0.12], abs=0.06)
    assert np.array_equal(found["level"] > 0, found["positive"])


def test_a_hot_spot_holds_more_positive_nuclei_and_mitoses() -> None:
    spec = replace(SPEC, stain="ihc", positive_share=0.2, mitoses=0.03, hot=(0.5, 0.5, 150.0))
    phantom = make(spec, 5)
    found = np.concatenate(list(phantom.truth.nuclei()))
    tumour = found[found["kind"] == CLASSES.index("tumour")]
    inside = np.hypot(tumour["x"] - 600, tumour["y"] - 500) * spec.mpp < 120
    assert tumour["positive"][inside].mean() > 2 * tumour["positive"][~inside].mean()
    assert 0 < len(phantom.truth.mitoses()) < 0.15 * len(tumour)
    assert len(make(SPEC, 5).truth.mitoses()) == 0


@pytest.mark.parametrize("kind", ["necrosis", "fibrosis"])
def test_dead_tissue_and_scar_take_their_share(kind: str) -> None:
    truth = make(replace(SPEC, **{kind: 0.3}), 5).truth
    whole = truth.tumour.area if kind == "necrosis" else truth.tissue.area - truth.tumour.area
    shape = getattr(truth, kind)
    assert shape.area / whole == pytest.approx(0.3, abs=0.05)
    assert shapely.difference(shape, truth.tissue).area < 0.01 * shape.area
    found = np.concatenate(list(truth.nuclei()))
    inside = shapely.contains_xy(shape, found["x"], found["y"])
    assert inside.mean() < 0.5 * shape.area / truth.tissue.area


def test_glands_grow_in_the_patterns_asked_for() -> None:
    spec = replace(SPEC, width=2000, height=1600, tumour_share=0, glandular=1.0, patterns=(0.0, 0.5, 0.5))
    truth = make(spec, 5).truth
    assert set(truth.patterns.tolist()) == {4, 5}
    pairs = {(int(p), len(g.interiors)) for g, p in zip(truth.glands, truth.patterns, strict=True)}
    assert pairs == {(4, 6), (5, 0)}


def test_membranes_are_brown_and_nuclei_are_not() -> None:
    spec = replace(SPEC, stain="ihc", marker="membrane", positive_share=1.0, levels=(0.0, 0.0, 1.0))
    phantom = make(spec, 5)
    found = np.concatenate(list(phantom.truth.nuclei()))
    stained = found[found["level"] == 3][:40]
    at_centre = [phantom.render(Box(n["x"] - 1.5, n["y"] - 1.5, 3, 3), 1).mean((0, 1)) for n in stained]
    assert np.mean([pixel[2] > pixel[0] for pixel in at_centre]) > 0.6  # blue, not brown
    assert set(np.unique(found["level"][found["kind"] != CLASSES.index("tumour")])) == {0}


def test_shares_that_do_not_add_up_are_refused() -> None:
    for name in ("levels", "patterns"):
        with pytest.raises(UsageError, match=f"sum of {name} 0.8.* is out of range"):
            PhantomSpec(**{name: (0.3, 0.3, 0.3)})
