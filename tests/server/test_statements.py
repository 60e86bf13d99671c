"""What stands beside what a model says: which one, trained on what, how sure, is the slide unlike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from coverslip.phantom import PhantomSpec, make, write_slide
from coverslip.server import Library
from coverslip.server.access import TokenDoor
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database
from coverslip.slides import SlideSource
from coverslip.store import Prediction, Provenance, RunFolder

pytest.importorskip("torch", reason="a model folder holds tensors")

TOKEN = {"Authorization": "Bearer x"}


def phantom(folder: Path, name: str, seed: int, **other: Any) -> Path:
    spec = PhantomSpec(width=1000, height=800, mpp=0.5, tissue_share=0.5, n_sections=1, **other)
    return write_slide(make(spec, seed=seed), folder / f"{name}.svs")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on four H&E phantoms, and the run of its training."""
    import torch

    from coverslip.learn.seen import keep_seen
    from coverslip.models.folder import FolderCard, ModelFolder

    folder = tmp_path_factory.mktemp("trained")
    slides = [phantom(folder, f"he{seed}", seed) for seed in range(4)]
    run = RunFolder.create(folder / "run")
    truth = np.arange(200) % 2
    sure = np.where(np.arange(200) < 140, truth, 1 - truth)  # right in 7 of 10, and 95 % sure
    table = {
        "slide": np.array([f"s{n}" for n in range(200)], object),
        "truth": np.array(["benign", "tumour"], object)[truth],
        "probability_benign": np.where(sure == 0, 0.95, 0.05),
        "probability_tumour": np.where(sure == 1, 0.95, 0.05),
    }
    made = Provenance.make("train", 1, parameters={}, inputs={}, slide=None)
    run.put(None, "predictions/grade", Prediction(table, {"classes": ["benign", "tumour"]}), provenance=made)
    about = {"cohort": "phantoms.csv", "rows": 4, "digest": "sha256:" + "a" * 64}
    card = FolderCard(
        id="grade", task="classify/tiles", architecture="small", classes=("benign", "tumour"), mpp=0.5,
        tile_px=128, stain="H&E", trained_on=about,
    )  # fmt: skip
    place = run.path / "models" / "grade"
    ModelFolder.save(place, {"w": torch.zeros(1)}, card)
    keep_seen(place, [SlideSource(path.stem, str(path)) for path in slides])
    return place


def viewed(folder: Path, slides: dict[str, Path], parameters: dict[str, Any]) -> RunFolder:
    """Write a run in which a model spoke of some slides."""
    run = RunFolder.create(folder)
    made = Provenance.make("classify", 1, parameters=parameters, inputs={}, slide=None)
    listed = [{"id": name, "path": str(path), "mpp": None} for name, path in slides.items()]
    run.set_info({"slides": listed}, made)
    names = np.array(list(slides), object)
    told = {"slide": names, "p_tumour": np.full(len(slides), 0.95), "p_benign": np.full(len(slides), 0.05)}
    run.put(None, "predictions/grade", Prediction(told), provenance=made)
    return run


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A slide like those of the training, and one of another stain."""
    folder = tmp_path_factory.mktemp("viewed")
    other = phantom(folder, "other", 32, stain="ihc", positive_share=0.4)
    return {"like": phantom(folder, "like", 31), "other": other}


@pytest.fixture
def client(model: Path, slides: dict[str, Path], tmp_path: Path, database: Database) -> Iterator[TestClient]:
    run = viewed(tmp_path / "run", slides, {"model": str(model)})
    app = make_app(Site(Library.of([str(run.path)]), database, TokenDoor("x"), hosts=None))
    with TestClient(app, headers=TOKEN, raise_server_exceptions=False) as made:
        yield made


def test_a_suggestion_states_all_that_a_reader_must_know(client: TestClient) -> None:
    said = client.get("/api/slides/like/suggestions").json()["slide"]
    assert (said["label"], said["model"]["name"], said["mpp"], said["stain"]) == (
        "tumour",
        "grade",
        0.5,
        "H&E",
    )
    assert len(said["model"]["version"]) == 12
    assert said["trained_on"] == f"phantoms.csv, 4 rows, {'a' * 12}"
    assert said["use"] == "for research use only"
    right = said["calibrated"]
    assert said["confidence"] == pytest.approx(0.95)
    assert right["confidence"] == pytest.approx(0.7, abs=0.01), "as often right as it says"
    assert "200 rows held back" in right["method"]
    json.dumps(said)


def test_another_stain_is_unlike_the_training_slides(client: TestClient) -> None:
    like = client.get("/api/slides/like/suggestions").json()["slide"]["unlike"]
    other = client.get("/api/slides/other/suggestions").json()["slide"]["unlike"]
    assert like["is"] is False
    assert other["is"] is True
    assert other["distance"] > 2 * other["limit"]
    assert "against 4 training slides" in other["why"]


def test_the_same_stands_in_a_reading(client: TestClient) -> None:
    begun = client.post("/api/slides/other/readings").json()
    refused = client.get("/api/slides/other/suggestions")
    assert refused.status_code == 403
    assert "tumour" not in refused.text
    client.put(f"/api/readings/{begun['id']}/finding", json={"label": "benign"})
    shown = client.post(f"/api/readings/{begun['id']}/reveal").json()["suggestion"]
    assert shown["unlike"]["is"] is True
    assert shown["calibrated"]["confidence"] < 0.8
    assert client.get("/api/slides/other/suggestions").status_code == 200


def test_what_no_card_tells_is_unknown(
    tmp_path: Path, slide_path: Path, database: Database, model: Path
) -> None:
    for number, parameters in enumerate(
        ({}, {"model": str(tmp_path / "gone")}, {"model": str(model), "digest": "sha256:0"})
    ):
        run = viewed(tmp_path / f"run{number}", {"a": slide_path}, parameters)
        app = make_app(Site(Library.of([str(run.path)]), database, TokenDoor("x"), hosts=None))
        with TestClient(app, headers=TOKEN, raise_server_exceptions=False) as client:
            said = client.get("/api/slides/a/suggestions").json()["slide"]
        assert said["unlike"]["is"] is None
        assert said["unlike"]["why"]
        assert said["use"] == "for research use only"
        assert said["model"]["stage"] == "classify"
