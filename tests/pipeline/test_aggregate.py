"""The stages that apply a model of bags: to a slide, with a map of where it looked, and to a case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')

import tifffile  # noqa: E402

from coverslip import Slide, open_slide  # noqa: E402
from coverslip.core.errors import NoTissueError, RecipeError, StoreError, UsageError  # noqa: E402
from coverslip.learn.bags.heads import Heads  # noqa: E402
from coverslip.learn.bags.model import BagModel, BagNetwork, described  # noqa: E402
from coverslip.learn.bags.targets import BagTarget  # noqa: E402
from coverslip.models.folder import FolderCard, ModelFolder  # noqa: E402
from coverslip.pipeline.stage import parameters_of  # noqa: E402
from coverslip.pipeline.stages.aggregate import AggregateCaseStage, AggregateStage, coarse  # noqa: E402
from coverslip.store import Features, Provenance, RunFolder  # noqa: E402
from coverslip.tiles import GridSpec, Tiles, lay  # noqa: E402

DIM = 5
TARGETS = (BagTarget(column="label", kind="binary"), BagTarget(column="age", kind="regression"))
CLASSES: tuple[tuple[str, ...], ...] = (("normal", "tumour"), ())


def model_folder(path: Path, targets: int = 1, aggregator: str = "abmil", **card: Any) -> Path:
    """A model that answers with the first feature: attention and probability of tumour grow with it."""
    torch.manual_seed(0)
    wanted, classes = TARGETS[:targets], CLASSES[:targets]
    parameters = {"hidden": 4, "dropout": 0.0}
    network = BagNetwork(aggregator, DIM, Heads.of(wanted, classes), parameters)
    about = {"dim": DIM, "aggregator": parameters, "targets": described(wanted, classes)}
    fields = {"preprocessing": {"encoder": "toy", "bag": "slide"}, "tile_px": 16, "mpp": 0.5, **card}
    made = FolderCard(
        id="label",
        task="classify/bags",
        architecture=aggregator,
        parameters=about,
        classes=classes[0],
        **fields,
    )
    ModelFolder.save(path, network.state_dict(), made)
    return path


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    tifffile.imwrite(tmp_path / "a.tif", np.full((96, 128, 3), 200, np.uint8), photometric="rgb")
    with open_slide(tmp_path / "a.tif", mpp=0.5) as opened:
        yield opened


def laid(slide: Slide, **spec: Any) -> tuple[Tiles, Features]:
    tiles = lay(slide, GridSpec(size=16, min_tissue=0, **spec))
    values = np.random.default_rng(0).normal(size=(len(tiles), DIM)).astype(np.float16)
    return tiles, Features(values, tiles.xy, "toy", tile_px=16, tile_side=tiles.side_px, mpp=tiles.mpp)


def inputs(tiles: Tiles, features: Features) -> dict[str, Any]:
    return {"tiles": tiles, "features/toy": features}


def test_a_slide_is_predicted_and_each_tile_says_its_part(slide: Slide, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", targets=2)
    stage = AggregateStage(model=str(folder))
    assert stage.reads() == ("tiles", "features/toy")
    assert stage.writes() == ("tables/label", "predictions/label", "maps/label")
    tiles, features = laid(slide)
    found = stage.run(slide, inputs(tiles, features))
    said = BagModel.load(folder).say(features.X)
    table, of_tiles = found["tables/label"], found["predictions/label"]
    assert table["class"].tolist() == ["normal", "tumour", ""]
    np.testing.assert_allclose(table["value"], np.concatenate(said.said))
    np.testing.assert_allclose(of_tiles["attention"], said.attention)
    assert of_tiles["attention"].sum() == pytest.approx(1)
    np.testing.assert_allclose(of_tiles["label_probability_tumour"], said.tiles[0][:, 1])
    np.testing.assert_allclose(of_tiles["age_prediction"], said.tiles[1][:, 0])
    assert found["notes"] == []


@pytest.mark.parametrize("spec", [{}, {"stride": 8}, {"mpp": 1.0}, {"stride": 11}])
def test_the_map_shows_each_tile_where_it_lies(slide: Slide, tmp_path: Path, spec: dict[str, Any]) -> None:
    card = {"mpp": None}
    stage = AggregateStage(model=str(model_folder(tmp_path / "model", **card)))
    tiles, features = laid(slide, **spec)
    found = stage.run(slide, inputs(tiles, features))
    shown = found["maps/label"].collect()
    assert shown.classes == ("attention", "normal", "tumour")
    values, probability = shown.read(), found["predictions/label"]["probability_tumour"]
    if spec.get("stride") is None:
        middle = ((tiles.xy + tiles.side_px / 2) / shown.downsample).astype(int)
        np.testing.assert_allclose(values[2][middle[:, 1], middle[:, 0]], probability, atol=0.01)
        relative = found["predictions/label"]["attention"] / found["predictions/label"]["attention"].max()
        np.testing.assert_allclose(values[0][middle[:, 1], middle[:, 0]], relative, atol=0.01)
    else:  # overlapping tiles are averaged
        inside = values[2][values[2] > 0]
        assert probability.min() - 0.01 <= inside.min() <= inside.max() <= probability.max() + 0.01
    assert coarse(tiles).side_px == pytest.approx(tiles.side_px)


def test_tiles_without_features_are_left_out_and_said(slide: Slide, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    tiles, features = laid(slide)
    values = features.X.copy()
    values[[0, 7]] = np.nan
    found = AggregateStage(model=str(folder)).run(slide, inputs(tiles, replace(features, X=values)))
    rest = np.delete(np.arange(len(tiles)), [0, 7])
    np.testing.assert_allclose(
        found["tables/label"]["value"], BagModel.load(folder).say(values[rest]).said[0]
    )
    assert np.isnan(found["predictions/label"]["attention"][[0, 7]]).all()
    assert found["notes"] == [f"2 of {len(tiles)} tiles have no features and were left out"]
    shown = found["maps/label"].collect().read()
    assert shown[1, 4, 4] == 0  # in the first tile
    assert shown[1].max() > 0


def test_a_graph_gets_the_places_of_the_tiles(slide: Slide, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", aggregator="graph")
    tiles, features = laid(slide)
    found = AggregateStage(model=str(folder)).run(slide, inputs(tiles, features))
    expected = BagModel.load(folder).say(features.X, features.coords)
    np.testing.assert_allclose(found["tables/label"]["value"], expected.said[0])


def test_the_run_gets_a_row_per_slide(slide: Slide, tmp_path: Path) -> None:
    stage = AggregateStage(model=str(model_folder(tmp_path / "model", targets=2)))
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("aggregate", 1, parameters={}, inputs={}, slide=None)
    assert stage.finish(run) == {}
    tiles, features = laid(slide)
    for name, some in (("a", features), ("b", replace(features, X=features.X + np.float16(1)))):
        run.put(name, "tables/label", stage.run(slide, inputs(tiles, some))["tables/label"], provenance=made)
    found = stage.finish(run)
    assert sorted(found) == ["predictions/age", "predictions/label"]
    label = found["predictions/label"]
    assert label["slide"].tolist() == ["a", "b"]
    np.testing.assert_allclose(label["probability_normal"] + label["probability_tumour"], 1, atol=1e-6)
    assert label.notes["classes"] == ["normal", "tumour"]
    run.put(None, "predictions/label", label, provenance=made)


def test_a_case_is_one_bag_of_all_its_slides(slide: Slide, tmp_path: Path) -> None:
    for aggregator in ("abmil", "graph"):
        folder = model_folder(tmp_path / aggregator, aggregator=aggregator)
        stage = AggregateCaseStage(model=str(folder))
        _, one = laid(slide)
        other = replace(one, X=one.X[:7] + np.float16(0.5), coords=one.coords[:7])
        row = stage.case({"a": {"features/toy": one}, "b": {"features/toy": other}})
        model = BagModel.load(folder)
        apart = np.concatenate([one.coords, other.coords + np.array([10**6, 0])])
        expected = model.say(np.concatenate([one.X, other.X]), apart).said[0]
        assert row["tiles"] == len(one) + 7
        assert row["probability_tumour"] == pytest.approx(expected[1])
        assert row["prediction"] == CLASSES[0][int(expected.argmax())]
    wrong = replace(other, encoder="uni")
    with pytest.raises(UsageError, match="uni"):
        stage.case({"a": {"features/toy": one}, "b": {"features/toy": wrong}})


# ------------------------------------------------------------------ refusals
def test_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="names no model"):
        AggregateStage()
    with pytest.raises(StoreError):
        AggregateStage(model=str(tmp_path / "nowhere"))
    folder = model_folder(tmp_path / "model")
    with pytest.raises(StoreError, match="recipe names sha256:0"):
        AggregateStage(model=str(folder), weights_digest="sha256:0")
    nameless = model_folder(tmp_path / "nameless", preprocessing={})
    with pytest.raises(RecipeError, match="features"):
        AggregateStage(model=str(nameless))
    assert AggregateStage(model=str(nameless), encoder="toy").reads()[1] == "features/toy"
    said = parameters_of(AggregateStage(model=str(folder)))
    assert said["weights_digest"] == ModelFolder.load(folder).digest


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"encoder": "uni"}, UsageError, "'uni'"),
        ({"tile_px": 32}, UsageError, "32"),
        ({"mpp": 1.0}, UsageError, "mpp"),
        ({"X": np.zeros((48, 9), np.float16)}, UsageError, "9"),
        ({"X": np.full((48, DIM), np.nan, np.float16)}, NoTissueError, "no tile"),
        ({"coords": np.zeros((48, 2), np.int32)}, RecipeError, "do not belong"),
    ],
)
def test_features_the_model_cannot_judge_are_refused(
    slide: Slide, tmp_path: Path, change: dict[str, Any], kind: type[Exception], said: str
) -> None:
    stage = AggregateStage(model=str(model_folder(tmp_path / "model")))
    tiles, features = laid(slide)
    with pytest.raises(kind, match=said):
        stage.run(slide, inputs(tiles, replace(features, **change)))
