"""From slides to a model of bags by the command line, and on to slides of another scanner."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')
pytest.importorskip("lightning", reason='lightning is not installed: pip install "coverslip[train]"')

import cv2  # noqa: E402
import tifffile  # noqa: E402
import yaml  # noqa: E402
from click.testing import CliRunner  # noqa: E402

from coverslip.cli import main  # noqa: E402
from coverslip.core.errors import CoverslipError, RecipeError, StoreError, UsageError  # noqa: E402
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from coverslip.models.classifiers import build_classifier  # noqa: E402
from coverslip.models.folder import FolderCard, ModelFolder  # noqa: E402
from coverslip.models.picture_classifier import PictureClassifier  # noqa: E402
from coverslip.pipeline.model_recipes import recipe_of_model  # noqa: E402
from coverslip.pipeline.stages import EmbedStage  # noqa: E402
from coverslip.store import RunFolder  # noqa: E402

SIDE, MPP = 32, 1.0
SMALL = {"width": 8, "depths": [0, 1], "dropout": 0.0}


def coverslip(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def encoder_folder(path: Path) -> Path:
    """A classifier of tiles that has learned nothing: even so its features tell dots from none."""
    torch.manual_seed(0)
    network = build_classifier("small-cnn", 2, SMALL)
    card = FolderCard(
        id="tiles", task="classify/tiles", architecture="small-cnn", parameters=SMALL, classes=("a", "b"),
        mpp=MPP, tile_px=SIDE, mean=IMAGENET_MEAN, std=IMAGENET_STD,
    )  # fmt: skip
    ModelFolder.save(path, network.state_dict(), card)
    return path


@pytest.fixture(scope="module")
def trained(slide_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the cohort and a model of bags, each by one command."""
    folder = tmp_path_factory.mktemp("bags")
    encoder = encoder_folder(folder / "encoder")
    made = coverslip(
        "run", "embed", slide_cohort, "-o", folder / "features", "--workers", 0, "--quiet",
        "--set", f"embed.model={encoder}", "--set", f"tiles.size={SIDE}", "--set", f"tiles.mpp={MPP}",
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    task = {
        "task": "classify",
        "method": "bags",
        "cohort": str(slide_cohort),
        "features": "features",
        "targets": {"column": "label", "kind": "binary", "classes": ["normal", "tumour"]},
        "parameters": {"hidden": 16, "width": 8, "dropout": 0.0},
        "split": {"folds": 2},
        "fit": {"epochs": 25, "accumulate": 2, "lr": 0.01, "threads": 1, "patience": None},
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(task))
    result = coverslip("train", folder / "task.yaml", "-o", folder / "run", "--quiet")
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def other_scanner(slide_cohort: Path, tmp_path: Path) -> Path:
    """Two slides of the cohort twice as fine, one four times as coarse: normal, tumour, too coarse."""
    rows = ["slide,path,mpp"]
    for name, source, factor in (("fine0", "s0", 2), ("fine1", "s1", 2), ("coarse", "s3", 0.25)):
        pixels = tifffile.imread(slide_cohort.parent / f"{source}.tif")
        resized = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        tifffile.imwrite(tmp_path / f"{name}.tif", resized, photometric="rgb", tile=(256, 256))
        rows.append(f"{name},{name}.tif,{MPP / factor}")
    (tmp_path / "new.csv").write_text("\n".join(rows))
    return tmp_path / "new.csv"


def test_a_model_of_bags_is_applied_at_another_mpp_from_pixels_to_map(
    trained: Path, other_scanner: Path, slide_cohort: Path
) -> None:
    out = other_scanner.parent / "out"
    model = trained / "run" / "models" / "label"
    result = coverslip("run", model, other_scanner, "-o", out, "--workers", 0, "--quiet")
    assert result.exit_code == 1, result.stderr  # one slide is too coarse; the others went on
    run = RunFolder(out)
    said = run.get(None, "predictions/label")
    assert dict(zip(said["slide"].tolist(), said["prediction"].tolist(), strict=True)) == {
        "fine0": "normal",
        "fine1": "tumour",
    }
    tiles = run.get("fine1", "tiles")
    assert (tiles.mpp, tiles.side_px) == (MPP, 2 * SIDE)
    drawn = json.loads((slide_cohort.parent / "s1.geojson").read_text())["features"][0]["geometry"]
    corners = 2 * np.array(drawn["coordinates"][0])
    middle = tiles.xy + SIDE
    inside = ((middle > corners.min(axis=0)) & (middle < corners.max(axis=0))).all(axis=1)
    table = run.get("fine1", "predictions/label")
    assert table["attention"][inside].mean() > 2 * table["attention"][~inside].mean()
    shown = run.get("fine1", "maps/label")
    assert shown.classes == ("attention", "normal", "tumour")
    places = (middle / shown.downsample).astype(int)
    attention = shown.read()[0][places[:, 1], places[:, 0]]
    assert attention[inside].mean() > 2 * attention[~inside].mean()
    assert not run.has("coarse", "predictions/label")


def test_the_plan_shows_the_way_from_slide_to_bag(trained: Path, other_scanner: Path) -> None:
    model = trained / "run" / "models" / "label"
    assert [next(iter(s)) if isinstance(s, dict) else s for s in _stages(model)] == [
        "tissue",
        "tiles",
        "embed",
        "aggregate",
    ]
    result = coverslip("plan", model, other_scanner)
    assert "aggregate" in result.stdout


def _stages(model: Path) -> list:
    from coverslip.pipeline.stages.aggregate import recipe_of_model as recipe

    return list(recipe(ModelFolder.load(model))["stages"])


def test_features_of_a_model_are_what_its_head_sees(trained: Path, slide_cohort: Path) -> None:
    run, model = RunFolder(trained / "features"), ModelFolder.load(trained / "encoder")
    name = f"tiles-{model.digest.removeprefix('sha256:')[:8]}"
    found = run.get("s1", f"features/{name}")
    assert (found.encoder, found.tile_px, found.mpp) == (name, SIDE, MPP)
    pixels = tifffile.imread(slide_cohort.parent / "s1.tif")
    tiles = np.stack([pixels[y : y + SIDE, x : x + SIDE] for x, y in found.coords[:6].tolist()])
    expected = PictureClassifier.load(model).features(tiles)
    np.testing.assert_allclose(found.X[:6], expected, atol=2e-3, rtol=2e-3)


def test_another_encoder_is_refused(trained: Path, tmp_path: Path) -> None:
    path = str(trained / "encoder")
    stage = EmbedStage(model=path)
    assert EmbedStage(model=path, encoder=stage.encoder, weights_digest=stage.weights_digest) == stage
    with pytest.raises(UsageError, match="names encoder 'uni'"):
        EmbedStage(model=path, encoder="uni")
    with pytest.raises(StoreError, match="but the recipe names sha256:0"):
        EmbedStage(model=path, weights_digest="sha256:0")
    with pytest.raises(UsageError, match="both model and weights"):
        EmbedStage(model=path, weights="w.safetensors")
    with pytest.raises(UsageError, match="classify/bags"):
        EmbedStage(model=str(trained / "run/models/label"))
    with pytest.raises(CoverslipError):
        EmbedStage(model=str(tmp_path))


def test_a_model_of_features_from_elsewhere_says_what_it_needs(trained: Path, tmp_path: Path) -> None:
    model = ModelFolder.load(trained / "run/models/label")
    from dataclasses import replace

    strange = replace(model.card, preprocessing={**model.card.preprocessing, "stages": []})
    ModelFolder.save(tmp_path / "strange", model.state(), strange)
    with pytest.raises(RecipeError, match="does not say how its features"):
        recipe_of_model(tmp_path / "strange")


def test_a_run_of_the_model_is_evaluated_and_shown(trained: Path, slide_cohort: Path) -> None:
    html = trained / "evaluation.html"
    assert coverslip("evaluate", trained / "run", "--html", html).exit_code == 0
    assert html.stat().st_size > 10_000
    with slide_cohort.open() as file:
        truth = {row["slide"]: row["label"] for row in csv.DictReader(file)}
    said = RunFolder(trained / "run").get(None, "predictions/label")
    right = [truth[s] == p for s, p in zip(said["slide"].tolist(), said["prediction"].tolist(), strict=True)]
    assert np.mean(right) >= 0.9
