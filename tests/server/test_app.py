"""Addresses: what they answer, whom they let in, what they say of what is wrong."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from coverslip.server import Library
from coverslip.server.access import TokenDoor
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database
from coverslip.server.roles import ROLES, role_of
from coverslip.server.routes import ROUTERS

SLIDE = "/api/slides/" + quote("a slide")


def test_slides_are_listed(client: TestClient) -> None:
    (listed,) = client.get("/api/slides").json()
    assert listed == {"id": "a slide", "run": None, "results": [], "there": True, "failure": None}


def test_facts_say_size_mpp_and_levels(client: TestClient) -> None:
    facts = client.get(SLIDE).json()
    assert (facts["width"], facts["height"], facts["mpp"]) == (2100, 1500, 0.5)
    finest = facts["levels"][0]
    assert (finest["width"], finest["height"], finest["downsample"]) == (2100, 1500, 1)
    assert (finest["tile_width"], finest["tile_height"]) == (256, 256)


@pytest.mark.parametrize("question", ["", "?decode=1", "?stain=eosin"])
def test_tiles_are_pictures(client: TestClient, question: str) -> None:
    for _ in range(2):  # the first time the slide is opened, the second it is at hand
        answer = client.get(f"{SLIDE}/tiles/0/1/1{question}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        assert "max-age" in answer.headers["cache-control"]
        assert Image.open(io.BytesIO(answer.content)).size == (256, 256)
    edge = client.get(f"{SLIDE}/tiles/0/8/5{question}")
    assert Image.open(io.BytesIO(edge.content)).size == (2100 - 8 * 256, 1500 - 5 * 256)


def test_a_region_and_a_thumbnail(client: TestClient) -> None:
    region = client.get(f"{SLIDE}/region?x=100&y=50&width=400&height=200&downsample=2")
    assert Image.open(io.BytesIO(region.content)).size == (200, 100)
    assert Image.open(io.BytesIO(client.get(f"{SLIDE}/thumbnail?size=210").content)).size == (210, 150)
    huge = client.get(f"{SLIDE}/region?x=0&y=0&width=1e9&height=1e9")
    assert huge.status_code == 404
    assert "too large" in huge.json()["error"]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/slides/b", 404),
        ("/api/slides/b/tiles/0/0/0", 404),
        (f"{SLIDE}/tiles/99/0/0", 404),
        (f"{SLIDE}/tiles/0/99/0", 404),
        (f"{SLIDE}/tiles/0/-1/0", 404),
        (f"{SLIDE}/tiles/a/b/c", 422),
        (f"{SLIDE}/tiles/0/0/{'9' * 30}", 404),
        (f"{SLIDE}/region?x=0&y=0&width=0&height=1", 404),
        (f"{SLIDE}/tiles/0/0/0?icc=1", 404),
        (f"{SLIDE}/tiles/0/0/0?stain=eosine", 404),
        (f"{SLIDE}/region?x=no", 422),
        (f"{SLIDE}/thumbnail?size=9999999", 422),
    ],
)
def test_what_is_wrong_is_said(client: TestClient, address: str, status: int) -> None:
    answer = client.get(address)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert "Traceback" not in answer.text


def test_a_slide_that_went_while_it_was_viewed(
    tmp_path: Path, jpeg_slide: Callable[..., Path], database: Database
) -> None:
    path = jpeg_slide(tmp_path / "a.tif", 600, 600)
    app = make_app(Site(Library.of([str(path)]), database, TokenDoor("x"), hosts=None))
    with TestClient(app, headers={"Authorization": "Bearer x"}) as client:
        path.unlink()
        answer = client.get("/api/slides/a")
    assert answer.status_code == 410
    assert "has gone" in answer.json()["error"]


# ---------------------------------------------------------------------- who may come in
def test_a_stranger_is_not_let_in(client: TestClient) -> None:
    for address in ("/api/slides", f"{SLIDE}/tiles/0/0/0", "/"):
        for value in ("", "Bearer wrong", "Basic eA"):
            assert client.get(address, headers={"Authorization": value}).status_code == 401


def test_the_token_of_the_address_becomes_a_cookie(library: Library, database: Database) -> None:
    app = make_app(Site(library, database, TokenDoor("x"), hosts=frozenset({"testserver"})))
    with TestClient(app) as client:
        answer = client.get("/?token=x&slide=a", follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/?slide=a"
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert client.get("/api/slides").status_code == 200, "the cookie is enough from now on"


def test_another_host_name_is_refused(client: TestClient) -> None:
    for address in ("/api/slides", f"{SLIDE}/tiles/0/0/0"):
        assert client.get(address, headers={"Host": "evil.example"}).status_code == 421


def test_every_route_is_listed_with_its_role(library: Library, database: Database) -> None:
    app = make_app(Site(library, database)).rest.app
    routes = [*app.routes, *(route for router in ROUTERS for route in router.routes)]
    served = {
        (method, route.path)
        for route in routes
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD"
    }
    listed = {(method, path) for method, path, _ in ROLES}
    assert served <= listed, f"without a role: {served - listed}"
    pages = {("GET", "/"), ("GET", "/{file}"), ("GET", "/assets/{file}")}
    assert listed - pages <= served, f"listed, but not served: {listed - pages - served}"


def test_an_address_without_a_role_is_not_served(client: TestClient) -> None:
    assert role_of("DELETE", "/api/slides") is None
    assert client.delete("/api/slides").status_code == 404


CLIMBS = ("../", "..\\", "%2e%2e/", "%2e%2e%2f", "..%2f", "%252e%252e%252f", "....//", "..%c0%af", "..;/")
PAYLOADS = [
    prefix + climb * depth + target
    for prefix in ("", "a slide", "/", "C:\\", "file://")
    for climb in CLIMBS
    for depth in (1, 3, 8)
    for target in ("etc/passwd", "run.json", "windows/win.ini", "proc/self/environ")
]
OTHERS = {"slide": "a%20slide", "level": "0", "column": "0", "row": "0", "step": "1"}


def places() -> list[tuple[str, str]]:
    """Return method and address of every route, once for each of its parameters, which is left as ``{}``."""
    found = []
    for method, path, _ in ROLES:
        names = re.findall(r"\{(\w+)\}", path)
        for name in names:
            rest = {other: OTHERS.get(other, "x") for other in names}
            found.append((method, path.format(**{**rest, name: "{}"})))
    return found


def test_no_path_climbs_out(client: TestClient) -> None:
    assert len(PAYLOADS) >= 500
    everywhere = places()
    assert len(everywhere) > 40
    for number, payload in enumerate(PAYLOADS * 3):
        method, address = everywhere[number % len(everywhere)]
        written = quote(payload, safe="") if number % 2 else payload
        answer = client.request(method, address.format(written))
        assert 400 <= answer.status_code < 500, (method, address, payload, answer.status_code)
        assert b"root:" not in answer.content
        assert b"Traceback" not in answer.content


@pytest.mark.parametrize(
    "question",
    [
        f"{SLIDE}/shapes/export?format=../../../../etc/passwd",
        f"{SLIDE}/grid?name=../../../etc/passwd",
        f"{SLIDE}/queue?name=..%2F..%2Fetc",
        "/api/record/export?format=../etc/passwd",
        f"{SLIDE}/tiles/0/0/0?stain=../../etc/passwd",
    ],
)
def test_no_question_climbs_out(client: TestClient, question: str) -> None:
    answer = client.get(question)
    assert 400 <= answer.status_code < 500
    assert b"root:" not in answer.content


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e308", "-1e308", "1e-308", "0", "-1"])
def test_absurd_numbers_are_refused(client: TestClient, number: str) -> None:
    """Or answered, where they can be: never with a fault of ours."""
    for address in (
        f"{SLIDE}/region?x={number}&y={number}&width=10&height=10",
        f"{SLIDE}/region?x=0&y=0&width={number}&height={number}&downsample={number}",
        f"{SLIDE}/region?x=0&y=0&width=100&height=100&downsample={number}",
        f"{SLIDE}/picture?x={number}&y=0&width=10&height=10",
        f"{SLIDE}/picture?x=0&y=0&width={number}&height=10",
        f"{SLIDE}/picture?x=0&y=0&width=10&height={number}",
        f"{SLIDE}/objects/nuclei/tiles/{number}/0/0",
        f"{SLIDE}/objects/nuclei/at?x={number}&y={number}",
        f"{SLIDE}/thumbnail?size={number}",
        f"{SLIDE}/tiles/{number}/0/0",
        f"{SLIDE}/tiles/0/{number}/0",
    ):
        answer = client.get(address)
        assert answer.status_code < 500, address
        assert "Traceback" not in answer.text


def test_the_reference_names_every_address(client: TestClient) -> None:
    page = client.get("/api/docs").text
    paths = client.get("/api/openapi.json").json()["paths"]
    assert "/api/slides/{slide}/tiles/{level}/{column}/{row}" in paths
    assert all(path in page for path in paths)
    assert "http://" not in page
    assert "https://" not in page


def test_a_page_runs_nothing_that_is_made_at_run_time(client: TestClient) -> None:
    policy = client.get("/api/slides").headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "eval" not in policy
    assert "script-src 'self' 'unsafe-inline'" not in policy
