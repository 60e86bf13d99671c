"""The draft report of a case: what it gathers, who edits it, what a signature holds."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anyone import AnyoneDoor
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from coverslip.core import Box
from coverslip.core.errors import ConflictError, UsageError
from coverslip.server import Library
from coverslip.server.access import Person
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database, Record, Reports
from coverslip.server.drafts import edited, picture_of
from coverslip.server.drafts.pdf import drawable
from coverslip.slides import open_slide
from coverslip.store import Prediction, Provenance, RunFolder
from coverslip.tiles import GridSpec, lay

ADA, BOB = Person("1", "Ada", "annotator"), Person("2", "Bob", "annotator")
SLIDES = ("a slide", "second")
SQUARE = {"type": "Polygon", "coordinates": [[[100, 100], [500, 100], [500, 400], [100, 400], [100, 100]]]}


@pytest.fixture
def room(tmp_path: Path, jpeg_slide: Callable[..., Path], database: Database) -> Iterator[TestClient]:
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("test", 3, parameters={}, inputs={}, slide=None)
    paths = {name: jpeg_slide(tmp_path / f"{name}.tif", 800, 1000) for name in SLIDES}
    listed = [{"id": name, "path": str(path), "mpp": None, "case": "case 7"} for name, path in paths.items()]
    run.set_info({"slides": listed}, made)
    table = {
        "slide": np.array(SLIDES, object), "p_tumour": np.array([0.8, 0.3], np.float32),
        "p_benign": np.array([0.2, 0.7], np.float32), "mitoses_per_mm2": np.array([4.25, 0.5]),
    }  # fmt: skip
    run.put(None, "predictions/grade", Prediction(table), provenance=made)
    for name, path in paths.items():
        with open_slide(str(path)) as slide:
            tiles = lay(slide, GridSpec(size=256, mpp=0.5))
            run.put(name, "slide", slide.info() | {"id": name}, provenance=made)
        run.put(name, "tiles", tiles, provenance=made)
        chances = np.linspace(0.1, 0.95, len(tiles)).astype(np.float32)
        told = Prediction({"p_tumour": chances, "p_benign": 1 - chances}, {"names": ["tumour", "benign"]})
        run.put(name, "predictions/grade", told, provenance=made)
    app = make_app(Site(Library.of([str(run.path)]), database, AnyoneDoor(), hosts=None))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def drafted(room: TestClient) -> dict[str, Any]:
    answer = room.post("/api/reports", json={"case": "case 7"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def at(report: dict[str, Any]) -> dict[str, int]:
    return {"version": report["version"], "edit": report["edit"]}


def test_a_draft_holds_what_is_known_of_the_case(room: TestClient) -> None:
    assert room.get("/api/cases").json() == [{"case": "case 7", "slides": list(SLIDES)}]
    shape = {"id": "s1", "kind": "polygon", "class_name": "tumour", "geometry": SQUARE}
    room.post("/api/slides/second/shapes", json=shape)
    begun = room.post("/api/slides/second/readings").json()
    room.put(f"/api/readings/{begun['id']}/finding", json={"label": "benign", "confidence": 0.6})
    room.post(f"/api/readings/{begun['id']}/reveal")
    decision = {"decision": "disagree", "reason": "an artefact"}
    room.put(f"/api/readings/{begun['id']}/decision", json=decision)
    content = drafted(room)["content"]
    assert [one["id"] for one in content["slides"]] == list(SLIDES)
    assert [(one["slide"], one["label"]) for one in content["models"]] == [
        ("a slide", "tumour"), ("second", "benign"),
    ]  # fmt: skip
    assert content["models"][0]["unlike"]["is"] is None
    (own,) = content["own"]
    assert (own["label"], own["decision"], own["final"]) == ("benign", "disagree", "benign")
    told = {(one["slide"], one["name"]): (one["value"], one["unit"]) for one in content["measurements"]}
    assert told["a slide", "grade: mitoses_per_mm2"] == (4.25, "/mm²")
    assert told["second", "Area of tumour, 1 drawn"] == (pytest.approx(0.03), "mm²")
    assert not any("p_" in name for _, name in told)
    drawn = [one for one in content["regions"] if one["by"] == "Ada"]
    assert [(one["x"], one["width"], one["caption"]) for one in drawn] == [(100, 400, "tumour")]
    suspected = [one for one in content["regions"] if one["by"] == "model grade"]
    assert len(suspected) == 8
    assert content["use"] == "for research use only"


def test_the_model_says_nothing_while_somebody_reads(room: TestClient) -> None:
    begun = room.post("/api/slides/second/readings").json()
    refused = room.post("/api/reports", json={"case": "case 7"})
    assert refused.status_code == 403
    assert "your own finding comes first" in refused.json()["error"]
    room.put(f"/api/readings/{begun['id']}/finding", json={"label": "benign"})
    room.post(f"/api/readings/{begun['id']}/reveal")
    assert room.post("/api/reports", json={"case": "case 7"}).status_code == 201


def test_a_person_edits_and_signs(room: TestClient) -> None:
    report = drafted(room)
    address = f"/api/reports/{report['id']}"
    first = report["content"]["regions"][0]["id"]
    edit = {
        "sections": {"conclusion": "Benign."},
        "regions": {first: {"kept": False, "caption": "A fold"}},
        "measurements": {"m0": {"kept": False}},
    }
    saved = room.put(address, json={**at(report), **edit}).json()
    assert (saved["version"], saved["edit"]) == (1, 2)
    assert (
        saved["content"]["regions"][0] | {"kept": False, "caption": "A fold"}
        == saved["content"]["regions"][0]
    )
    late = room.put(address, json={**at(report), "sections": {"findings": "x"}}, headers={"x-name": "Bob"})
    assert late.status_code == 409
    assert "Ada saved this report" in late.json()["error"]
    signed = room.post(f"{address}/sign", json=at(saved), headers={"x-name": "Bob"}).json()
    assert (signed["signed_by"], len(signed["digest"]), signed["whole"]) == ("Bob", 64, True)
    assert room.post(f"{address}/sign", json=at(signed)).status_code == 409
    again = room.put(address, json={**at(signed), "sections": {"conclusion": "Benign, seen again."}}).json()
    assert (again["version"], again["edit"], again["signed"]) == (2, 1, None)
    old = room.get(f"{address}?version=1").json()
    assert old["content"]["sections"]["conclusion"] == "Benign."
    assert old["digest"] == signed["digest"]
    kept = room.get("/api/record", headers={"x-role": "admin"}).json()
    assert [one["action"] for one in kept["lines"]] == [
        "draft report", "edit report", "sign report", "edit report",
    ]  # fmt: skip
    assert kept["lines"][2]["details"]["digest"] == signed["digest"]


def test_what_a_report_does_not_take(room: TestClient) -> None:
    report = drafted(room)
    address = f"/api/reports/{report['id']}"
    for wrong, status in (
        ({"sections": {"diagnosis": "x"}}, 404),
        ({"sections": {"findings": "x" * 20_001}}, 404),
        ({"regions": {"r999": {"kept": False}}}, 404),
        ({"regions": {"r0": {"x": 5}}}, 422),
        ({"models": []}, 422),
    ):
        answer = room.put(address, json={**at(report), **wrong})
        assert answer.status_code == status, wrong
        assert "Traceback" not in answer.text
    assert room.post(f"{address}/sign", json=at(report)).status_code == 404, "no conclusion yet"
    assert room.get("/api/reports/x").status_code == 404
    assert room.post("/api/reports", json={"case": "case 8"}).status_code == 404


def test_who_does_not_see_the_slides_sees_no_report(room: TestClient) -> None:
    report = drafted(room)
    other = {"x-name": "Eve", "x-slides": "second,lung-*"}
    assert room.get(f"/api/reports/{report['id']}", headers=other).status_code == 404
    assert room.get(f"/api/reports/{report['id']}/pdf", headers=other).status_code == 404
    assert room.get("/api/reports", headers=other).json() == []
    assert len(room.get("/api/reports").json()) == 1
    reader = {"x-role": "reader"}
    assert room.get(f"/api/reports/{report['id']}", headers=reader).status_code == 200
    assert room.put(f"/api/reports/{report['id']}", json=at(report), headers=reader).status_code == 403


def test_a_pdf_is_made(room: TestClient, tmp_path: Path) -> None:
    report = drafted(room)
    address = f"/api/reports/{report['id']}"
    words = {"conclusion": "Müller cells, 5 µm <b>not markup</b> & 患者", "findings": "One.\nTwo."}
    saved = room.put(address, json={**at(report), "sections": words}).json()
    draft = room.get(f"{address}/pdf")
    assert draft.headers["content-type"] == "application/pdf"
    assert draft.content.startswith(b"%PDF-")
    assert draft.content.count(b"/Subtype /Image") >= 8 or draft.content.count(b"/Image") >= 8
    assert room.get(f"{address}/pdf").content == draft.content, "the same report gives the same bytes"
    room.post(f"{address}/sign", json=at(saved))
    assert room.get(f"{address}/pdf").content != draft.content
    assert room.get(f"{address}/pdf?version=9").status_code == 404
    (tmp_path / "second.tif").unlink()
    assert room.get(f"{address}/pdf").status_code == 200, "a slide that went leaves the report readable"


def test_text_is_drawable() -> None:
    assert drawable("Müller, 5 µm² ≤ 7") != ""
    assert drawable("患者 7\n") == "?? 7\n"


# ---------------------------------------------------------------------- the database
CONTENT = {"sections": {"conclusion": "Benign."}, "regions": [], "measurements": [], "slides": []}


def test_signed_versions_are_sealed(either: Database) -> None:
    reports = Reports(either, Record(either))
    draft = reports.begin(ADA, "c", CONTENT)
    signed = reports.sign(BOB, draft.id, (1, 1))
    for line in ("UPDATE report_versions SET content = '{}'", "DELETE FROM report_versions"):
        with pytest.raises(SQLAlchemyError, match="stays as it is"), either.writing() as connection:
            connection.execute(text(line))
    assert reports.get(draft.id) == signed
    assert signed.is_whole
    edit = reports.save(ADA, draft.id, (1, 1), {**CONTENT, "sections": {"conclusion": "Malignant."}})
    with pytest.raises(ConflictError, match="Ada saved"):
        reports.sign(BOB, draft.id, (2, 7))
    assert (edit.version, reports.get(draft.id, 1).signed_by) == (2, "Bob")
    assert [one.version for one in reports.all()] == [2]


def test_a_report_without_conclusion_is_not_signed(either: Database) -> None:
    reports = Reports(either, Record(either))
    draft = reports.begin(ADA, "c", {**CONTENT, "sections": {"conclusion": "  "}})
    with pytest.raises(UsageError, match="no conclusion"):
        reports.sign(ADA, draft.id, (1, 1))


# ---------------------------------------------------------------------- pictures and edits
def test_a_picture_has_a_scale_bar(slide_path: Path) -> None:
    with open_slide(str(slide_path)) as slide:
        made = picture_of(slide, Box(400, 300, 800, 400))
        edge = picture_of(slide, Box(-50, -50, 100, 100))
        with pytest.raises(UsageError, match="beyond the slide"):
            picture_of(slide, Box(5000, 0, 10, 10))
    assert (made.width, made.bar) == (900, "100 µm")
    assert made.mpp == pytest.approx(0.5 * 1200 / 900)
    pixels = np.asarray(Image.open(io.BytesIO(made.data)).convert("L")).astype(int)
    dark = pixels[-60:, -400:] < 70
    longest = max(len(run) for row in dark for run in "".join("x" if one else " " for one in row).split())
    assert longest == pytest.approx(100 / made.mpp, abs=6), "the bar is as long as it says"
    assert edge.width >= 64


def test_edits_leave_what_was_measured() -> None:
    content = {
        "sections": {"findings": "", "conclusion": ""},
        "regions": [{"id": "r0", "x": 1, "kept": True}],
        "measurements": [{"id": "m0", "value": 3.0, "kept": True}],
        "models": ["m"],
    }
    made = edited(content, {"measurements": {"m0": {"kept": False, "value": 99}}})
    assert made["measurements"] == [{"id": "m0", "value": 3.0, "kept": False}]
    assert made["models"] == ["m"]
