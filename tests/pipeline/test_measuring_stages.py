"""Objects measured in a recipe, maps of what was measured, distances and patterns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.measure.objects import SHAPES, PixelSpec, shapes, stains
from coverslip.phantom import PhantomSpec, make, write_slide
from coverslip.pipeline import Execution, Recipe, run_recipe
from coverslip.pipeline.memory import run_stage
from coverslip.pipeline.sources import sources_of
from coverslip.pipeline.stages.lying import DistancesStage, GetisOrdStage, SpatialStage
from coverslip.pipeline.stages.measuring import MapStage, MeasureStage
from coverslip.slides import Slide, open_slide
from coverslip.stain import RUIFROK_JOHNSTON
from coverslip.store import ObjectTable, SlideStain
from coverslip.testing import check_stage
from coverslip.tissue import Tissue

HERE = Execution(workers=0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    phantom = make(PhantomSpec(width=700, height=600, tissue_share=0.6, holes=0.0), 4)
    return write_slide(phantom, tmp_path_factory.mktemp("measured") / "a.svs")


@pytest.fixture(scope="module")
def served(path: Path) -> Iterator[tuple[Slide, dict[str, Any]]]:
    """A slide, and what stands in for earlier steps: 40 discs of two classes, in two rows of unlike size."""
    x, y = (part.ravel() for part in np.meshgrid(np.arange(20) * 30 + 60, [150.0, 450.0]))
    large = y > 300
    discs = shapely.buffer(shapely.points(x, y), np.where(large, 8.0, 4.0))
    table = ObjectTable(discs, classes=("small", "large"), labels=large.astype(np.int32), mpp=0.5)
    with open_slide(path) as slide:
        yield slide, {"objects/nuclei": table, "stain": SlideStain("H&E", RUIFROK_JOHNSTON["H&E"])}


def test_measuring_in_a_recipe_is_what_the_library_measures(served: tuple) -> None:
    slide, inputs = served
    found = run_stage(MeasureStage(), slide, inputs)["objects/measure"]
    objects = inputs["objects/nuclei"]
    assert found.classes == objects.classes
    assert np.array_equal(found.codes, objects.codes)
    form = shapes(objects.polygons, 0.5)
    pixels = PixelSpec(mpp=0.5, texture=False)
    colour = stains(slide, objects.polygons, RUIFROK_JOHNSTON["H&E"], spec=pixels)
    assert tuple(found.measurements) == (*SHAPES, *colour)
    for name, values in (form | colour).items():
        assert np.array_equal(found[name], values, equal_nan=True), name
    assert found["area_um2"][found.codes == 0] == pytest.approx(np.pi * 4**2 / 4, rel=0.02)


def test_measuring_leaves_out_what_is_not_wanted(served: tuple) -> None:
    slide, inputs = served
    assert MeasureStage(stain=False).reads() == ("objects/nuclei",)
    bare = {"objects/nuclei": inputs["objects/nuclei"]}
    found = run_stage(MeasureStage(stain=False), slide, bare)["objects/measure"]
    assert tuple(found.measurements) == SHAPES
    with pytest.raises(UsageError, match="nothing to measure"):
        MeasureStage(shape=False, stain=False)


@pytest.mark.parametrize("stage", [MeasureStage(texture=True), MapStage(of="nuclei")])
def test_these_stages_keep_their_promises(stage: Any, served: tuple) -> None:
    check_stage(stage, *served)


def test_maps_of_any_measurement(served: tuple) -> None:
    slide, inputs = served
    measured = {"objects/measure": run_stage(MeasureStage(stain=False), slide, inputs)["objects/measure"]}
    mean = run_stage(MapStage(value="area_um2", what="mean"), slide, measured)["maps/map"]
    small, large = (np.nanmax(mean.values[0][rows]) for rows in (slice(0, 1), slice(1, None)))
    assert small == pytest.approx(np.pi * 4, rel=0.02)  # cells of 100 µm are 200 px
    assert large == pytest.approx(np.pi * 16, rel=0.02)
    counts = run_stage(MapStage(what="count", counted=("large",)), slide, measured)["maps/map"]
    assert counts.values.sum() == 20
    with pytest.raises(UnknownNameError, match="did you mean 'area_um2'"):
        run_stage(MapStage(value="area_um", what="mean"), slide, measured)
    with pytest.raises(UnknownNameError, match="did you mean 'large'"):
        run_stage(MapStage(counted=("larg",)), slide, measured)
    with pytest.raises(UsageError, match="mean and sum need a value"):
        MapStage(what="mean")


# ------------------------------------------------------------------ how they lie
@pytest.fixture(scope="module")
def laid(served: tuple) -> tuple[Slide, dict[str, Any]]:
    """Two classes on the tissue: one crowds in a corner of it, one lies on a lattice; and a region."""
    slide, _ = served
    rng = np.random.default_rng(0)
    crowd = rng.normal((230.0, 230.0), 15.0, (60, 2))
    lattice = np.stack(np.meshgrid(np.arange(150, 550, 40.0), np.arange(150, 450, 40.0)), -1).reshape(-1, 2)
    discs = shapely.buffer(shapely.points(np.concatenate([crowd, lattice])), 3.0)
    labels = np.repeat([0, 1], [len(crowd), len(lattice)]).astype(np.int32)
    objects = ObjectTable(discs, classes=("crowd", "lattice"), labels=labels, mpp=0.5)
    region = ObjectTable(np.array([shapely.box(200, 200, 260, 260)]), classes=("tumour",), mpp=0.5)
    tissue = Tissue.from_polygons([shapely.box(120, 120, 580, 480)], slide.size, 4.0)
    return slide, {"objects/nuclei": objects, "objects/segment": region, "tissue": tissue}


@pytest.mark.parametrize("stage", [DistancesStage(), GetisOrdStage(counted=("crowd",)), SpatialStage()])
def test_stages_of_place_keep_their_promises(stage: Any, laid: tuple) -> None:
    check_stage(stage, *laid)


def test_distances_are_those_to_edges_and_middles(laid: tuple) -> None:
    slide, inputs = laid
    found = run_stage(DistancesStage(), slide, inputs)["objects/distances"]
    edge = shapely.box(200, 200, 260, 260).exterior
    points = shapely.points(found.xy)
    inside = shapely.contains(shapely.box(200, 200, 260, 260), points)
    expected = np.where(inside, -1, 1) * shapely.distance(points, edge) * 0.5
    assert np.allclose(found["to_segment_um"], expected, atol=1e-3)
    near = run_stage(DistancesStage(by="middle"), slide, inputs)["objects/distances"]
    assert np.allclose(near["to_segment_um"], np.hypot(*(found.xy - 230).T) * 0.5, atol=1e-3)
    none = inputs | {"objects/segment": inputs["objects/segment"].take([])}
    assert np.isinf(run_stage(DistancesStage(), slide, none)["objects/distances"]["to_segment_um"]).all()
    with pytest.raises(UnknownNameError, match="did you mean 'tumour'"):
        run_stage(DistancesStage(to_classes=("tumor",)), slide, inputs)


def test_a_crowd_is_clustered_and_hot_and_keeps_to_itself(laid: tuple) -> None:
    slide, inputs = laid
    found = run_stage(SpatialStage(), slide, inputs)
    crowd, lattice = ({k: v[i] for k, v in found["tables/spatial"].columns.items()} for i in (0, 1))
    assert (crowd["class"], crowd["count"], lattice["class"]) == ("crowd", 60, "lattice")
    assert crowd["per_mm2"] == pytest.approx(60 / (460 * 360 * 0.25e-6))
    assert crowd["ratio"] < 0.5
    assert lattice["ratio"] > 1.3
    curve = found["tables/spatial-ripley"].columns
    assert curve["l_um"][0] > curve["high_um"][0] > 10 > curve["low_um"][0]  # beyond all random patterns
    assert lattice["nearest_um"] == pytest.approx(20.0)
    near = found["tables/spatial-neighbours"].columns
    z = dict(zip(zip(near["class"], near["neighbour"], strict=True), near["z"], strict=True))
    assert z["crowd", "crowd"] > 3
    assert z["crowd", "lattice"] < -3
    hot = run_stage(GetisOrdStage(counted=("crowd",), reach_um=30), slide, inputs)["objects/getis-ord"]
    assert (hot["gi_z"][:60] > 1.96).mean() > 0.9
    far = np.hypot(*(hot.xy - 230).T) > 150
    assert (hot["gi_z"][far] < 1.96).all()


def test_too_few_objects_and_no_tissue_are_said(laid: tuple) -> None:
    slide, inputs = laid
    few = inputs | {"objects/nuclei": inputs["objects/nuclei"].take([0, 1, 60])}
    found = run_stage(SpatialStage(), slide, few)
    assert found["tables/spatial"].columns["count"].tolist() == [2, 1]
    assert np.isnan(found["tables/spatial"].columns["ratio"]).all()
    assert len(found["tables/spatial-ripley"]) == len(found["tables/spatial-neighbours"]) == 0
    bare = inputs | {"tissue": Tissue.from_polygons([], slide.size, 4.0)}
    assert len(run_stage(SpatialStage(), slide, bare)["tables/spatial"]) == 0


def test_a_map_of_a_recipe_lies_in_the_run_under_its_name(path: Path, tmp_path: Path) -> None:
    recipe = Recipe.from_dict(
        {
            "stages": [
                "tissue",
                {"tiles": {"mpp": 0.5, "size": 512, "edge": "pad", "min_tissue": 0.01, "quality": False}},
                "stain",
                {"name": "nuclei", "stage": "classical-nuclei"},
                {"measure": {"of": "nuclei"}},
                {"name": "roundness", "stage": "map", "value": "circularity", "what": "mean"},
            ]
        }
    )
    done = run_recipe(recipe, sources_of([str(path)]), tmp_path / "run", execution=HERE)
    assert done.ok, done.outcomes
    found = done.run.get("a", "maps/roundness")
    assert found.names == ("circularity",)
    assert 0.3 < np.nanmean(found.values) <= 1.0
    objects = done.run.get("a", "objects/measure")
    assert {"ring_eosin_p90", "fourier_8", "area_um2"} <= set(objects.measurements)
    assert len(objects) == len(done.run.get("a", "objects/nuclei"))
