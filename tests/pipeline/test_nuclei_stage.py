"""Nuclei of a slide through the runner: found, limited, resumed, and refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely import box

from coverslip.core import Size
from coverslip.core.errors import StoreError, UsageError
from coverslip.pipeline.stage import LIMITED
from coverslip.pipeline.stages import nuclei as stages
from coverslip.pipeline.stages.nuclei import KEY, NucleiStage
from coverslip.store import Resume
from coverslip.testing import check_stage
from coverslip.tiles import GridSpec, lay
from coverslip.tissue import Tissue

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from nuclei_painted import Sees, discs, painted_slide

SIZE = Size(930, 710)


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(stages, "load_nuclei", lambda *_, **__: Sees())
    slide = painted_slide(SIZE, discs(SIZE, 24, 0))
    tissue = Tissue.from_polygons([box(0, 0, 400, 710)], SIZE, 10)
    return {"tiles": lay(slide, GridSpec(mpp=0.5, size=128, edge="pad")), "tissue": tissue}


def test_it_keeps_what_stages_promise(inputs: dict[str, object]) -> None:
    check_stage(NucleiStage(), painted_slide(SIZE, discs(SIZE, 24, 0)), inputs)


def test_regions_limit_nuclei_by_their_centre(inputs: dict[str, object]) -> None:
    truth = discs(SIZE, 24, 0)
    slide = painted_slide(SIZE, truth)
    everything = NucleiStage().run(slide, inputs)[KEY].collect()
    some = NucleiStage().run(slide, inputs | {LIMITED: "to the left"})[KEY].collect()
    assert len(everything) == len(truth)
    assert len(some) == (everything.xy[:, 0] < 400).sum()
    assert (some.xy[:, 0] < 400).all()
    assert everything.classes == ("nucleus",)
    area = shapely.area(everything.polygons) * 0.25  # mpp²
    np.testing.assert_allclose(everything["area_um2"], area, rtol=0.15)
    assert everything["area_um2"].sum() == pytest.approx(area.sum(), rel=0.03)


def test_it_goes_on_after_the_parts_that_are_there(inputs: dict[str, object]) -> None:
    slide = painted_slide(SIZE, discs(SIZE, 24, 0))
    stream = NucleiStage().run(slide, inputs)[KEY]
    parts = list(stream.batches)
    again = NucleiStage().run(slide, inputs | {"resume": Resume({KEY: 3})})[KEY]
    rest = list(again.batches)
    assert len(parts) == stream.n == len(rest) + 3
    np.testing.assert_array_equal(parts[3].xy, rest[0].xy)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(StoreError, match="names"):
        NucleiStage(weights_digest="sha256:0")
    with pytest.raises(UsageError, match="threads"):
        NucleiStage(threads=0)
    with pytest.raises(UsageError, match="precision"):
        NucleiStage(precision="f8")  # type: ignore[arg-type]
