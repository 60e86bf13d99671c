"""The learning loop: corrections keep the model's file as it is, the queue asks for what is unsure, and
``coverslip train`` takes what people said."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from fastapi.testclient import TestClient

from coverslip.cli.main import main
from coverslip.learn.task import load_task
from coverslip.pipeline import Recipe, run_recipe
from coverslip.server import Library
from coverslip.server.access import Person, TokenDoor
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database, Drawings, Record
from coverslip.slides import find_slides
from coverslip.store import Prediction, Provenance, RunFolder
from coverslip.store.objects import ObjectTable

SLIDE = "/api/slides/a%20slide"
CLASSES = ("benign", "tumour")


def cells() -> ObjectTable:
    x, y = np.meshgrid(np.arange(50, 2000, 100.0), np.arange(50, 1400, 100.0))
    x, y = x.ravel(), y.ravel()
    labels = (np.arange(len(x)) % 2).astype(np.int32)
    boxes = shapely.box(x, y, x + 20, y + 20)
    return ObjectTable(
        boxes, classes=("nucleus", "mitosis"), labels=labels, scores=np.full(len(x), 0.9), mpp=0.5
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, slide_path: Path) -> RunFolder:
    place = tmp_path_factory.mktemp("learning")
    slides = [shutil.copy(slide_path, place / name) for name in ("a slide.tif", "b.tif", "c.tif", "d.tif")]
    stages = ["tissue", {"tiles": {"size": 256, "min_tissue": 0.0, "quality": False}}]
    run_recipe(Recipe.from_dict({"stages": stages}), find_slides([str(one) for one in slides]), place / "run")
    made = RunFolder(place / "run")
    said = Provenance.make("test", 1, parameters={}, inputs={}, slide=None)
    for slide in made.slides():
        n = len(made.get(slide, "tiles"))
        tumour = np.linspace(0.02, 0.98, n).astype(np.float32)
        columns = {
            "tile": np.arange(n, dtype=np.int32), "label": (tumour > 0.5).astype(np.int32),
            "p_benign": 1 - tumour, "p_tumour": tumour,
        }  # fmt: skip
        made.put(slide, "predictions/kind", Prediction(columns, {"names": list(CLASSES)}), provenance=said)
        made.put(slide, "objects/nuclei", cells(), provenance=said)
    return made


@pytest.fixture
def people(run: RunFolder) -> Iterator[Database]:
    path = run.path / "people.sqlite"
    made = Database(str(path))
    yield made
    made.close()
    path.unlink()


@pytest.fixture
def viewed(run: RunFolder, people: Database) -> Iterator[TestClient]:
    app = make_app(Site(Library.of([str(run.path)]), people, TokenDoor("x"), hosts=None))
    with TestClient(app, headers={"Authorization": "Bearer x"}) as client:
        yield client


def correct(client: TestClient, slide: str = SLIDE, **body: object) -> dict[str, object]:
    answer = client.post(f"{slide}/corrections", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def digest(run: RunFolder) -> str:
    files = sorted(p for p in (run.path / "slides").rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()


# ---------------------------------------------------------------------- corrections
def test_a_verdict_is_kept_with_author_time_and_origin(run: RunFolder, viewed: TestClient) -> None:
    before = digest(run)
    kept = correct(viewed, key="objects/nuclei", number=3, verdict="accept")
    assert (kept["class_name"], kept["author"], kept["version"]) == ("mitosis", "You", 1)
    assert kept["created"]
    origin = kept["origin"]
    assert (origin["key"], origin["number"], origin["verdict"]) == ("objects/nuclei", 3, "accept")
    assert origin["predicted"] == "mitosis"
    assert origin["score"] == pytest.approx(0.9)
    assert origin["made"] == run.fingerprint("a slide", "objects/nuclei")
    assert shapely.from_geojson(json.dumps(kept["geometry"])).equals(cells().polygons[3])
    assert digest(run) == before


def test_another_verdict_takes_the_place_of_the_first(viewed: TestClient) -> None:
    first = correct(viewed, key="objects/nuclei", number=3, verdict="accept")
    second = correct(viewed, key="objects/nuclei", number=3, verdict="reject")
    assert first["id"] == second["id"]
    assert (second["version"], second["class_name"], second["origin"]["verdict"]) == (2, None, "reject")
    third = correct(viewed, key="objects/nuclei", number=3, verdict="relabel", class_name="mitosis")
    assert third["origin"]["verdict"] == "accept"  # the model had said so
    assert len(viewed.get(f"{SLIDE}/shapes").json()) == 1


def test_what_was_taken_back_can_be_said_again(viewed: TestClient) -> None:
    kept = correct(viewed, key="objects/nuclei", number=5, verdict="reject")
    assert viewed.delete(f"{SLIDE}/shapes/{kept['id']}?version={kept['version']}").status_code == 204
    again = correct(viewed, key="objects/nuclei", number=5, verdict="accept")
    assert again["id"] == kept["id"]
    assert [one["id"] for one in viewed.get(f"{SLIDE}/shapes").json()] == [kept["id"]]


def test_a_reshaped_correction_says_so(viewed: TestClient) -> None:
    kept = correct(viewed, key="objects/nuclei", number=0, verdict="accept")
    ring = [[50, 50], [75, 50], [75, 70], [50, 70], [50, 50]]
    body = {"id": kept["id"], "kind": "polygon", "class_name": "nucleus", "version": 1,
            "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip
    changed = viewed.put(f"{SLIDE}/shapes/{kept['id']}", json=body).json()
    assert changed["origin"] == {**kept["origin"], "verdict": "reshape"}


def test_a_second_person_is_told(run: RunFolder, people: Database, viewed: TestClient) -> None:
    kept = correct(viewed, key="objects/nuclei", number=7, verdict="accept")
    other = Person("2", "Grace", "annotator")
    shape = {**kept, "origin": {**kept["origin"], "verdict": "reject"}, "version": None}
    with pytest.raises(Exception, match="You corrected this at"):
        Drawings(people, Record(people)).correct(other, "a slide", shape)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"key": "objects/nuclei", "number": 9999, "verdict": "accept"}, 404, "no object 9999"),
        ({"key": "objects/none", "number": 0, "verdict": "accept"}, 404, "no objects/none"),
        ({"key": "maps/x", "number": 0, "verdict": "accept"}, 404, "holds no findings"),
        ({"key": "objects/nuclei", "number": 0, "verdict": "agree"}, 404, "agree"),
        ({"key": "predictions/kind", "number": 0, "verdict": "reject"}, 404, "always something"),
        ({"key": "predictions/kind", "number": -1, "verdict": "accept"}, 404, "no tile -1"),
        ({"key": "objects/nuclei", "number": 0, "verdict": "accept", "origin": {}}, 422, "origin"),
    ],
)
def test_a_wrong_verdict_is_refused(
    viewed: TestClient, body: dict[str, object], status: int, said: str
) -> None:
    answer = viewed.post(f"{SLIDE}/corrections", json=body)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


# ---------------------------------------------------------------------- the queue
def test_the_queue_asks_for_what_is_unsure_and_forgets_what_was_labelled(viewed: TestClient) -> None:
    first = viewed.get(f"{SLIDE}/queue", params={"name": "kind", "limit": 5}).json()
    assert (first["labelled"], len(first["queue"]), first["spread_by"]) == (0, 5, "place")
    top = first["queue"][0]
    assert top["doubt"] == max(one["doubt"] for one in first["queue"])
    assert abs(top["numbers"]["p_tumour"] - 0.5) < 0.02
    kept = correct(viewed, key="predictions/kind", number=top["row"], verdict="relabel", class_name="benign")
    assert kept["kind"] == "rectangle"
    second = viewed.get(f"{SLIDE}/queue", params={"name": "kind", "limit": 5}).json()
    assert second["labelled"] == 1
    assert top["row"] not in [one["row"] for one in second["queue"]]


def test_a_tile_tells_its_numbers(viewed: TestClient) -> None:
    told = viewed.get(f"{SLIDE}/predictions/kind/at", params={"x": 300, "y": 10}).json()
    assert (told["row"], told["x"], told["width"]) == (1, 256, 256)
    assert set(told["numbers"]) == {"p_benign", "p_tumour"}
    assert viewed.get(f"{SLIDE}/predictions/kind/at", params={"x": -5, "y": 10}).status_code == 404


# ---------------------------------------------------------------------- coverslip train takes it
def test_train_takes_what_people_said(run: RunFolder, viewed: TestClient, tmp_path: Path) -> None:
    for slide in (SLIDE, *(f"/api/slides/{name}" for name in "bcd")):
        for row in range(4):
            said = {"key": "predictions/kind", "number": row, "verdict": "relabel"}
            correct(viewed, slide, class_name=CLASSES[row % 2], **said)
        correct(viewed, slide, key="objects/nuclei", number=0, verdict="reject")
        correct(viewed, slide, key="objects/nuclei", number=1, verdict="relabel", class_name="nucleus")
        for name, box in {"reviewed": (0, 0, 400, 300), "stroma": (600, 600, 900, 900)}.items():
            shape = {"id": f"{slide[-1]}-{name}", "kind": "rectangle", "class_name": name,
                     "geometry": json.loads(shapely.to_geojson(shapely.box(*box)))}  # fmt: skip
            assert viewed.post(f"{slide}/shapes", json=shape).status_code == 201
    out = tmp_path / "training"
    done = CliRunner().invoke(main, ["export", str(run.path), "--to", "training", "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert {Path(one["path"]).name: one["rows"] for one in json.loads(done.stdout)} == {
        "tiles.csv": 16, "regions.csv": 4, "objects.csv": 4,
    }  # fmt: skip
    rows = rows_of(out / "tiles.csv")
    assert [row["label"] for row in rows] == [CLASSES[i % 2] for i in range(16)]
    check_objects(out)
    plans = {name: planned(out, name, text) for name, text in TASKS.items()}
    assert plans["tiles"]["rows"] == 16
    assert plans["objects"]["objects"] == 4 * 11
    assert plans["regions"]["shapes"] == 4 * 2


TASKS = {
    "tiles": "task: classify\nmethod: tiles\ntarget: label\nsize: 64\n"
    "split: {how: holdout, test: 0.25, val: 0.25, look: false}",
    "objects": "task: detect\nclasses: [nucleus, mitosis]\nmpp: 0.5",
    "regions": "task: segment\nclasses: [stroma, nucleus]\nmpp: 1.0",
}


def planned(folder: Path, name: str, text: str) -> Mapping[str, Any]:
    (folder / f"{name}.yaml").write_text(f"{text}\ncohort: {name}.csv\n")
    return load_task(folder / f"{name}.yaml").plan().values


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def check_objects(out: Path) -> None:
    """The reviewed area holds the model's objects as corrected: one rejected, one relabelled."""
    row, *_ = rows_of(out / "objects.csv")
    features = json.loads((out / row["annotations"]).read_text())["features"]
    names = [one["properties"]["classification"]["name"] for one in features]
    assert len(names) == 4 * 3 - 1
    assert names.count("nucleus") == 3 * 2 - 1 + 1
    assert all(0 <= x <= 400 and 0 <= y <= 300 for f in features for x, y in f["geometry"]["coordinates"][0])
