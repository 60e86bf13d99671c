"""Steps limited to what earlier ones found: which tiles and objects reach them, to any depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import levels
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from coverslip.core.errors import RecipeError
from coverslip.pipeline import Execution, Pipeline, Recipe, Step, run_recipe
from coverslip.pipeline.areas import Regions, Squares
from coverslip.pipeline.sources import sources_of
from coverslip.pipeline.stages import TilesStage
from coverslip.slides import Slide, open_slide
from coverslip.store import RunFolder

GRID = TilesStage(size=64, quality=False, min_tissue=0)


def grey(path: Path, side: int = 512) -> Path:
    import tifffile

    tifffile.imwrite(path, np.full((side, side, 3), 120, np.uint8), photometric="rgb")
    return path


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    with open_slide(grey(tmp_path / "a.tif"), mpp=0.5) as found:
        yield found


def chain(diary: str = "", factor: float = 1.0, side: float = 20.0) -> tuple:
    """Three levels: tiles of the left half, their blobs, the big ones of the lower half counted."""
    return (
        levels.Ground(diary=diary),
        GRID,
        levels.Halves(diary=diary),
        Step(levels.Blobs(side=side, diary=diary), where={"halves": "left"}),
        Step(levels.Counted(factor=factor, diary=diary), where={"blobs": "big"}),
    )


# ------------------------------------------------------------------ what reaches a step
def test_where_keeps_tiles_by_class_and_objects_by_class(slide: Slide) -> None:
    found = Pipeline(chain()).run(slide)
    assert len(found["tiles"]) == 64
    assert len(found["objects/blobs"]) == 32  # 4 of 8 columns
    counted = found["tables/counted"]
    assert counted["objects"].tolist() == [16]  # every other row is big
    assert counted["tiles"].tolist() == [16]  # tiles that hold such an object


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"halves": "left"}, 32),
        ({"halves": ["left", "right"]}, 64),
        ({"halves": "left", "at_least": 0.75}, 16),
        ({"halves": "left", "at_most": 0.25}, 16),
        ({"halves": "right", "at_least": 0.25, "at_most": 0.5}, 16),
        ([{"halves": "left"}, {"halves": "right", "at_least": 0.25}], 16),
        ({"halves": "left", "at_least": 0.99}, 0),
        ({"tiles": "tissue", "at_least": 0.9}, 64),
        ({"depths": "y", "at_most": 100}, 16),
        ("blobs", 64),
    ],
)
def test_where_tests_class_probability_and_measurement(slide: Slide, where: object, kept: int) -> None:
    stages = (levels.Ground(), GRID, levels.Halves(), levels.Depths(), levels.Blobs())
    found = Pipeline((*stages, Step(levels.Blobs(), name="again", where=where))).run(slide)
    assert len(found["objects/again"]) == kept


def test_within_keeps_what_lies_in_regions(slide: Slide) -> None:
    middle = {
        "objects/blobs": levels.Blobs(side=80)._table(Pipeline((levels.Ground(), GRID)).run(slide)["tiles"])
    }
    stages = [levels.Ground(), GRID, levels.Blobs(side=80)]
    touched = Pipeline([*stages, Step(levels.Depths(), within={"blobs": "big"})]).run(slide, middle)
    assert len(touched["features/depths"]) == 64  # big blobs reach into every row
    half = {"blobs": "big", "at_least": 0.5}
    inside = Pipeline([*stages, Step(levels.Depths(), within=half)]).run(slide, middle)
    assert len(inside["features/depths"]) == 32
    clipped = Pipeline([*stages, Step(TilesStage(size=16, quality=False), name="fine", within="blobs")]).run(
        slide
    )
    area = sum(
        polygon.area for polygon in shapely.get_parts(shapely.union_all(middle["objects/blobs"].polygons))
    )
    assert len(clipped["tiles/fine"]) * 16**2 == pytest.approx(min(area, 512**2), rel=0.1)


def test_objects_made_within_regions_lie_within(slide: Slide) -> None:
    for streamed in (False, True):
        step = Step(levels.Blobs(side=4, streamed=streamed), name="inner", within={"blobs": "small"})
        found = Pipeline([levels.Ground(), GRID, levels.Blobs(side=80), step]).run(slide)
        outer = found["objects/blobs"].where(found["objects/blobs"].codes == 1)
        assert len(found["objects/inner"]) == 32
        assert shapely.contains(outer.polygons, found["objects/inner"].polygons).all()


def test_the_same_stage_twice_under_names(slide: Slide) -> None:
    fine = Step(TilesStage(size=32, quality=False), name="fine", where={"halves": "left"})
    grade = Step(levels.Halves(bend=2), name="grade", using={"tiles": "fine"})
    found = Pipeline([levels.Ground(), GRID, levels.Halves(), fine, grade]).run(slide)
    assert len(found["tiles/fine"]) == len(found["predictions/grade"]) == 128
    assert found["tiles/fine"].xy[:, 0].max() < 256


def test_rows_of_limited_tables_are_numbered_as_the_tiles(slide: Slide) -> None:
    again = Step(levels.Halves(), name="again", where={"halves": "right"})
    found = Pipeline([levels.Ground(), GRID, levels.Halves(), again]).run(slide)
    table = found["predictions/again"]
    assert np.array_equal(found["tiles"].xy[table["tile"]], np.stack([table["x"], table["y"]], axis=1))
    assert (table["left"] < 0.5).all()
    deeper = Step(levels.Blobs(), where={"again": "right", "at_least": 0.75})
    assert (
        len(Pipeline([levels.Ground(), GRID, levels.Halves(), again, deeper]).run(slide)["objects/blobs"])
        == 16
    )


def test_a_gate_that_keeps_nothing_is_a_result(tmp_path: Path) -> None:
    grey(tmp_path / "a.tif")
    stages = (
        levels.Ground(),
        GRID,
        levels.Halves(),
        Step(levels.Blobs(streamed=True), where={"halves": "left", "at_least": 0.99}),
        Step(levels.Depths(), within={"blobs": "big"}),
        Step(TilesStage(size=16, quality=False), name="fine", within={"blobs": "big"}),
        Step(levels.Counted(), within={"blobs": "big"}),
    )
    sources = sources_of([str(tmp_path / "a.tif")], mpp=0.5)
    done = run_recipe(Recipe("r", stages), sources, tmp_path / "run", execution=Execution(workers=0))
    assert done.failed == ()
    run = RunFolder(tmp_path / "run")
    assert run.get("a", "tables/counted")["objects"].tolist() == [0]
    assert len(run.get("a", "tiles/fine")) == len(run.get("a", "objects/blobs")) == 0
    notes = [note for event in run.events() for note in event.note or () if event.stage]
    said = "blobs: none of the 64 tiles passed (where halves: left, at least 0.99), so nothing was done"
    assert said in notes


def test_a_region_too_small_for_a_tile_is_said(slide: Slide) -> None:
    step = Step(levels.Depths(), within={"blobs": "small", "at_least": 0.5})
    given = Pipeline([levels.Ground(), GRID, levels.Blobs()]).run(slide)
    inputs = {key: given[key] for key in ("tiles", "objects/blobs")}
    bound = Pipeline([levels.Ground(), GRID, levels.Blobs(), step]).stages[-1]
    assert (
        "none of the 64 tiles passed (within blobs: small, at least 0.5)"
        in bound.run(slide, inputs)["notes"][0]
    )


# ------------------------------------------------------------------ squares and regions
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_shares_in_regions_are_areas(side: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    region = shapely.box(0, 0, 3 * width, 2 * width)
    xy = rng.integers(-50, 120, (20, 2))
    share = shapely.area(shapely.intersection(shapely.box(*xy.T, *(xy + side).T), region)) / side**2
    for least in (0.25, 0.5, 1.0):
        assert np.array_equal(Regions((region,)).tiles(xy, side, least), share >= least - 1e-9)
    assert np.array_equal(Regions((region,)).tiles(xy, side), share > 0)


@given(st.integers(8, 64), st.integers(2, 4))
def test_finer_and_coarser_grids_meet_in_the_same_places(side: int, times: int) -> None:
    coarse = np.array([[0, 0], [2 * side * times, 0]])
    fine = np.stack(np.meshgrid(np.arange(4 * times), np.arange(times)), -1).reshape(-1, 2) * side
    kept = fine[Squares(coarse, side * times).tiles(fine, side)]
    assert len(kept) == 2 * times**2
    back = Squares(kept, side).tiles(np.array([[i * side * times, 0] for i in range(4)]), side * times)
    assert back.tolist() == [True, False, True, False]


# ------------------------------------------------------------------ only what is below is computed anew
def diary_of(path: Path) -> list[str]:
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.split()[1] for line in lines]


def test_a_change_at_depth_three_recomputes_only_what_is_below(tmp_path: Path) -> None:
    grey(tmp_path / "a.tif")
    diary, sources = tmp_path / "diary", sources_of([str(tmp_path / "a.tif")], mpp=0.5)

    def ran(*stages: object) -> list[str]:
        recipe = Recipe("r", stages)
        assert run_recipe(recipe, sources, tmp_path / "run", execution=Execution(workers=0)).ok
        return diary_of(diary)

    def four(factor: float = 1.0, side: float = 20.0, bend: float = 1.0) -> tuple:
        text = str(diary)
        return (
            levels.Ground(diary=text),
            GRID,
            levels.Halves(diary=text, bend=bend),
            Step(levels.Blobs(side=side, diary=text), where={"halves": "left"}),
            Step(levels.Counted(factor=factor, diary=text), where={"blobs": "big"}),
            Step(levels.Depths(diary=text), within={"blobs": "big"}),
            Step(levels.Halves(diary=text), name="last", where={"depths": "x", "at_least": 100}),
        )

    assert ran(*four()) == ["ground", "halves", "blobs", "counted", "depths", "halves"]
    assert ran(*four()) == []
    assert ran(*four(factor=2)) == ["counted"]
    assert ran(*four(factor=2, side=30)) == ["blobs", "counted", "depths", "halves"]
    assert ran(*four(factor=2, side=30, bend=2)) == ["halves", "blobs", "counted", "depths", "halves"]
    looser = list(four(factor=2, side=30, bend=2))
    looser[5] = Step(levels.Depths(diary=str(diary)), within={"blobs": "small"})
    assert ran(*looser) == ["depths", "halves"]


# ------------------------------------------------------------------ references
WRONG = [
    (
        Step(levels.Blobs(), where={"halvs": "left"}),
        "there is no step before it 'halvs'.*did you mean 'halves'",
    ),
    (Step(levels.Blobs(), where={"halves": "lft"}), "no class of 'halves' 'lft'.*did you mean 'left'"),
    (Step(levels.Blobs(), within={"depths": "x"}), "'depths' finds no regions; it writes features/depths"),
    (Step(levels.Blobs(), where={"blobs": "big"}), "it names itself"),
    (Step(levels.Blobs(), using={"tile": "tiles"}), "no input 'tile'.*did you mean 'tiles'"),
    (Step(levels.Blobs(), using={"tiles": "halves"}), "'halves' writes no tiles"),
    (Step(levels.Halves(), name="depths"), "stage 'depths' is there twice"),
]


@pytest.mark.parametrize(("step", "said"), WRONG, ids=range(len(WRONG)))
def test_references_are_checked_before_anything_runs(step: Step, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Recipe("r", (levels.Ground(), GRID, levels.Halves(), levels.Depths(), step))


def test_steps_that_go_round_in_a_circle_are_refused() -> None:
    first = Step(levels.Blobs(), where={"halves": "left"})
    second = Step(levels.Halves(), within={"depths": "x"})
    third = Step(levels.Depths(), within={"blobs": "big"})
    with pytest.raises(RecipeError, match="round in a circle: blobs → halves → depths → blobs"):
        Recipe("r", (levels.Ground(), GRID, first, second, third))
    with pytest.raises(RecipeError, match="'depths' stands after it; to mend: put 'depths' before"):
        Recipe("r", (levels.Ground(), GRID, Step(levels.Blobs(), within="depths"), levels.Depths()))


def test_a_class_that_nobody_looked_for_fails_the_slide_in_words(slide: Slide) -> None:
    step = Step(levels.Depths(), within={"blobs": "huge"})
    with pytest.raises(RecipeError, match=r"there is no class or measurement of 'blobs' 'huge'.*big, small"):
        Pipeline([levels.Ground(), GRID, levels.Blobs(), step]).run(slide)
    step = Step(levels.Depths(), where={"blobs": "area_px"})
    with pytest.raises(RecipeError, match="'area_px' is a measurement of 'blobs', which needs a bound"):
        Pipeline([levels.Ground(), GRID, levels.Blobs(), step]).run(slide)
