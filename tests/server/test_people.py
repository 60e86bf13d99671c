"""Drawing and reading over HTTP: what a page does, and what it is told when it may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from anyone import AnyoneDoor
from fastapi.testclient import TestClient

from coverslip.annotations import Annotations
from coverslip.server import Library
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database
from coverslip.store import Prediction, Provenance, RunFolder

SLIDE = "/api/slides/a%20slide"
SQUARE = {"type": "Polygon", "coordinates": [[[10, 10], [210, 10], [210, 110], [10, 110], [10, 10]]]}
SHAPE = {"id": "s1", "kind": "polygon", "class_name": "tumour", "geometry": SQUARE}


@pytest.fixture
def room(slide_path: Path, tmp_path: Path, database: Database) -> Iterator[TestClient]:
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("test", 1, parameters={}, inputs={}, slide=None)
    run.set_info({"slides": [{"id": "a slide", "path": str(slide_path), "mpp": None}]}, made)
    told = {
        "slide": np.array(["other", "a slide"], object),
        "probability_tumour": np.array([0.1, 0.8], np.float32),
        "probability_benign": np.array([0.9, 0.2], np.float32),
    }
    run.put(None, "predictions/diagnosis", Prediction(told), provenance=made)
    app = make_app(Site(Library.of([str(run.path)]), database, AnyoneDoor(), hosts=None))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_shapes_are_drawn_changed_and_removed(room: TestClient) -> None:
    assert room.post(f"{SLIDE}/shapes", json=SHAPE).status_code == 201
    changed = room.put(f"{SLIDE}/shapes/s1", json={**SHAPE, "class_name": "stroma", "version": 1}).json()
    assert (changed["version"], changed["author"]) == (2, "Ada")
    late = room.put(f"{SLIDE}/shapes/s1", json={**SHAPE, "version": 1}, headers={"x-name": "Bob"})
    assert late.status_code == 409
    assert "Ada changed this shape" in late.json()["error"]
    assert room.delete(f"{SLIDE}/shapes/s1?version=2").status_code == 204
    assert room.get(f"{SLIDE}/shapes").json() == []


def test_shapes_go_out_and_come_back(room: TestClient, tmp_path: Path) -> None:
    room.post(f"{SLIDE}/shapes", json=SHAPE)
    for kept, form in enumerate(("geojson", "asap", "imagescope")):
        sent = room.get(f"{SLIDE}/shapes/export?format={form}")
        assert sent.status_code == 200, sent.text
        file = tmp_path / f"{form}.{'json' if form == 'geojson' else 'xml'}"
        file.write_bytes(sent.content)
        assert Annotations.read(file).area_px("tumour") == pytest.approx(20_000)
        taken = room.post(f"{SLIDE}/shapes/import", content=sent.content)
        assert taken.json() == {"shapes": 2**kept}
    assert len(room.get(f"{SLIDE}/shapes").json()) == 8


LAUGHS = b"<!DOCTYPE a [<!ENTITY a0 'ha'>" + b"".join(
    b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12)
) + b"]><ASAP_Annotations><Annotations>&a11;</Annotations></ASAP_Annotations>"  # fmt: skip
ENTITY = b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><ASAP_Annotations>&e;</ASAP_Annotations>"
POINT = b'{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [%s]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"type": "FeatureCollection", "features": [{}]}',
        b"<xml",
        b"\x00\xff" * 100,
        b"[" * 200_000,
        b'{"type": "FeatureCollection", "features": ' + b"[" * 100_000,
        b'{"type":' * 50_000,
        POINT % b"NaN, 1",
        POINT % b"1e999, 1",
        POINT % b'"a", 1',
        b'{"type": "FeatureCollection", "features": {"a": 1}}',
        b'{"type": "FeatureCollection", "features": [' + b"1," * 100_000 + b"1]}",
        LAUGHS,
        ENTITY,
    ],
    ids=range(15),
)
def test_what_is_no_annotation_file_is_refused(room: TestClient, content: bytes) -> None:
    answer = room.post(f"{SLIDE}/shapes/import", content=content)
    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text
    assert room.get(f"{SLIDE}/shapes").json() == []


def test_a_shape_as_deep_as_a_well_is_refused(room: TestClient) -> None:
    deep = b'{"id": "s", "kind": "point", "geometry": {"type": "Point", "coordinates": ' + b"[" * 100_000
    answer = room.post(f"{SLIDE}/shapes", content=deep, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500


def test_a_huge_file_is_refused_before_it_is_read(room: TestClient) -> None:
    answer = room.post(f"{SLIDE}/shapes/import", content=b"{}", headers={"content-length": str(1 << 40)})
    assert "MiB" in answer.json()["error"]


def test_a_reader_may_look_but_not_draw(room: TestClient) -> None:
    reader = {"x-role": "reader"}
    assert room.get(f"{SLIDE}/shapes", headers=reader).status_code == 200
    answer = room.post(f"{SLIDE}/shapes", json=SHAPE, headers=reader)
    assert answer.status_code == 403
    assert "annotator" in answer.json()["error"]
    assert room.get("/api/record", headers=reader).status_code == 403


def test_a_page_elsewhere_cannot_draw(room: TestClient) -> None:
    answer = room.post(f"{SLIDE}/shapes", json=SHAPE, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_a_reading_from_first_look_to_decision(room: TestClient) -> None:
    begun = room.post(f"{SLIDE}/readings").json()
    address = f"/api/readings/{begun['id']}"
    early = room.post(f"{address}/reveal")
    assert early.status_code == 409
    assert "tumour" not in early.text, "nothing of the suggestion gets out before"
    locked = room.put(f"{address}/finding", json={"label": "benign", "confidence": 0.7}).json()
    assert len(locked["digest"]) == 64
    assert room.put(f"{address}/finding", json={"label": "tumour"}).status_code == 409
    shown = room.post(f"{address}/reveal").json()["suggestion"]
    assert (shown["label"], shown["target"]) == ("tumour", "diagnosis")
    assert shown["confidence"] == pytest.approx(0.8)
    assert shown["use"] == "for research use only"
    done = room.put(f"{address}/decision", json={"decision": "disagree", "reason": "an artefact"}).json()
    assert done["final"]["label"] == "benign"
    assert room.get(address, headers={"x-name": "Bob"}).status_code == 404
    study = room.get("/api/study.csv", headers={"x-role": "admin"}).text.splitlines()
    assert ",benign,tumour,disagree,benign,False," in study[1]


def test_the_record_says_who_saw_and_did_what(room: TestClient) -> None:
    room.get(SLIDE)
    room.post(f"{SLIDE}/shapes", json=SHAPE)
    kept = room.get("/api/record", headers={"x-role": "admin"}).json()
    assert [(line["person"], line["action"]) for line in kept["lines"]] == [("Ada", "see"), ("Ada", "draw")]
    assert kept["first_break"] is None
