"""Read first: until it is shown, the server tells a reader nothing of what models found on the slide."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from anyone import AnyoneDoor
from fastapi.testclient import TestClient

from coverslip.server import Library
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database
from coverslip.server.roles import ROLES, SILENT, TELLING, TELLING_IN_PART

SLIDE = "/api/slides/a%20slide"
CORRECTION = {"key": "objects/nuclei", "number": 7, "verdict": "accept"}
NUMBERS = count(10)
"""Of objects of which nobody has spoken yet."""

BOB = {"x-name": "Bob"}
CHIEF = {"x-name": "Chief", "x-role": "admin"}

ASKED = {
    "/suspicious": "/suspicious",
    "/maps/{name}/tiles/{level}/{column}/{row}": "/maps/regions/tiles/0/0/0",
    "/objects/{name}": "/objects/nuclei",
    "/objects/{name}/histogram": "/objects/nuclei/histogram?measurement=area_um2",
    "/objects/{name}/tiles/{step}/{column}/{row}": "/objects/nuclei/tiles/4/0/0",
    "/objects/{name}/outlines": "/objects/nuclei/outlines?x=0&y=0&width=200&height=200",
    "/objects/{name}/at": "/objects/regions/at?x=300&y=300",
    "/predictions/{name}/at": "/predictions/kind/at?x=300&y=300",
    "/queue": "/queue?name=kind",
    "/corrections": "/corrections",
    "/suggestions": "/suggestions",
    "/grid": "/grid?name=kind",
}
"""How each address is asked with success."""


@pytest.fixture
def room(viewed_run: Path, database: Database) -> Iterator[TestClient]:
    library = Library.of([str(viewed_run)])
    app = make_app(Site(library, database, AnyoneDoor(), hosts=None))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def asked(room: TestClient, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
    rest = ASKED[path.removeprefix("/api/slides/{slide}")]
    body = {"json": {**CORRECTION, "number": next(NUMBERS)}} if method == "POST" else {}
    return room.request(method, SLIDE + rest, headers=headers, **body)


def read(room: TestClient) -> str:
    """Begin to read the slide, and return the address of the reading."""
    return f"/api/readings/{room.post(f'{SLIDE}/readings').json()['id']}"


def reveal(room: TestClient, reading: str) -> None:
    assert room.put(f"{reading}/finding", json={"label": "benign"}).status_code == 200
    assert room.post(f"{reading}/reveal").status_code == 200


def test_every_address_of_a_slide_is_said_to_tell_or_not() -> None:
    listed = sorted([*TELLING, *TELLING_IN_PART, *SILENT])
    of_slides = [(method, path) for method, path, _ in ROLES if path.startswith("/api/slides/{slide}")]
    assert listed == sorted(of_slides), "say in roles.py whether it tells what models found"


@pytest.mark.parametrize(("method", "path"), [*TELLING, ("GET", "/api/slides/{slide}/grid")])
def test_what_models_found_is_refused_until_it_is_shown(room: TestClient, method: str, path: str) -> None:
    reading = read(room)
    refused = asked(room, method, path)
    assert refused.status_code == 403, refused.text
    assert refused.json()["error"] == "you are reading a slide: your own finding comes first"
    assert "lock it" in refused.json()["mend"]
    assert asked(room, method, path, BOB).status_code in (200, 201), "others are not concerned"
    assert asked(room, method, path, CHIEF).status_code in (200, 201)
    room.put(f"{reading}/finding", json={"label": "benign"})
    assert asked(room, method, path).status_code == 403, "locked, but not shown"
    room.post(f"{reading}/reveal")
    assert asked(room, method, path).status_code in (200, 201)


def test_another_slide_is_not_withheld(room: TestClient) -> None:
    read(room)
    assert room.get("/api/slides/second/suspicious").status_code == 200
    assert room.get("/api/slides/second/suggestions").status_code == 200


def test_layers_are_listed_without_what_models_found(room: TestClient) -> None:
    reading = read(room)
    there = room.get(f"{SLIDE}/overlays").json()
    assert there["withheld"] is True
    assert (there["tissue"], there["tiles"], there["quality"]) == (True, True, True)
    assert not any(there[kind] for kind in ("maps", "objects", "predictions", "doubting", "features"))
    assert room.get(f"{SLIDE}/tissue").status_code == 200
    assert "labels" not in room.get(f"{SLIDE}/grid").json()
    reveal(room, reading)
    there = room.get(f"{SLIDE}/overlays").json()
    assert there["withheld"] is False
    assert there["objects"] == ["nuclei", "regions"]


def test_corrections_of_others_are_left_out(room: TestClient) -> None:
    own = {"type": "Polygon", "coordinates": [[[10, 10], [210, 10], [210, 110], [10, 110], [10, 10]]]}
    room.post(f"{SLIDE}/shapes", json={"id": "s1", "kind": "polygon", "geometry": own}, headers=BOB)
    assert room.post(f"{SLIDE}/corrections", json=CORRECTION, headers=BOB).status_code == 201
    reading = read(room)
    assert [one["id"] for one in room.get(f"{SLIDE}/shapes").json()] == ["s1"]
    assert len(room.get(f"{SLIDE}/shapes", headers=BOB).json()) == 2
    assert len(room.get(f"{SLIDE}/shapes/export").json()["features"]) == 1
    reveal(room, reading)
    assert len(room.get(f"{SLIDE}/shapes").json()) == 2


def test_reports_and_earlier_readings_are_withheld(room: TestClient) -> None:
    first = read(room)
    reveal(room, first)
    room.put(f"{first}/decision", json={"decision": "agree"})
    report = room.post("/api/reports", json={"case": "a slide"}).json()
    reading = read(room)
    for address in (f"/api/reports/{report['id']}", f"/api/reports/{report['id']}/pdf", first):
        refused = room.get(address)
        assert refused.status_code == 403, address
        assert "tumour" not in refused.text
    assert room.post(f"{first}/reveal").status_code == 403
    assert room.post("/api/reports", json={"case": "a slide"}).status_code == 403
    assert room.get(f"/api/reports/{report['id']}", headers=CHIEF).status_code == 200
    reveal(room, reading)
    assert room.get(first).json()["suggestion"]["label"] == "tumour"


def test_the_facts_of_a_slide_say_which_reading_is_under_way(room: TestClient) -> None:
    assert room.get(SLIDE).json()["reading"] is None
    reading = read(room)
    assert room.get(SLIDE).json()["reading"]["id"] == reading.rpartition("/")[2]
    assert room.get(SLIDE, headers=BOB).json()["reading"] is None
    reveal(room, reading)
    room.put(f"{reading}/decision", json={"decision": "agree"})
    assert room.get(SLIDE).json()["reading"] is None
