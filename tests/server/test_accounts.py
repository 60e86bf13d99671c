"""A group's accounts: who is let in, for how long, what they see; on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from coverslip.core.errors import ConflictError, UnknownNameError, UsageError
from coverslip.server import Library
from coverslip.server.access import csrf_of
from coverslip.server.accounts import AccountsDoor, People, Projects, Sessions, Spans
from coverslip.server.accounts.people import digest_of_code
from coverslip.server.accounts.settings import Settings
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database, Record
from coverslip.server.limits import Buckets, Limits
from coverslip.server.opening import group_site

SLIDE = "/api/slides/a%20slide"
WORDS = "seven quiet herons"
URL = "https://testserver"


@pytest.fixture
def people(either: Database) -> People:
    return People(either, Record(either))


def site_of(library: Library, database: Database, **other: Any) -> Site:
    settings = Settings(url=URL, proxy="127.0.0.1", **other)
    return group_site(library, database, settings)


@pytest.fixture
def group(library: Library, database: Database) -> Iterator[TestClient]:
    """A browser that nobody has logged in with; Root administers, Ada draws, Rob reads.

    On SQLite alone: what is written to either database is tested above.
    """
    people = People(database, Record(database))
    for name, role in (("Root", "admin"), ("Ada", "annotator"), ("Rob", "reader")):
        _, code = people.add("test", name, role)
        people.accept(code, WORDS)
    app = make_app(site_of(library, database))
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
        yield client


def log_in(client: TestClient, name: str, password: str = WORDS) -> Any:
    """Log in as a browser does, and send its token with every change from then on."""
    answer = client.post("/login", data={"name": name, "password": password}, headers={"origin": URL})
    if answer.status_code == 200:
        client.headers["x-coverslip-csrf"] = client.get("/api/me").json()["csrf"]
    return answer


# ---------------------------------------------------------------------- people
def test_an_invitation_works_once(people: People) -> None:
    who, code = people.add("Root", "Ada", "annotator", email="Ada@Lab.example")
    assert (who.email, who.invited, who.comes_by) == ("ada@lab.example", True, ())
    assert people.invited(code).name == "Ada"
    assert people.accept(code, WORDS).comes_by == ("password",)
    with pytest.raises(UsageError, match="does not work"):
        people.accept(code, WORDS)
    assert people.by_password("Ada", WORDS) is not None
    assert people.by_password("Ada", WORDS + "!") is None
    assert people.by_password("Eve", WORDS) is None


def test_neither_password_nor_code_is_kept(people: People, either: Database) -> None:
    _, code = people.add("Root", "Ada", "reader")
    people.accept(code, WORDS)
    _, open_code = people.add("Root", "Bob", "reader")
    token = Sessions(either, Record(either)).begin(people.get("Ada"), way="password")
    with either.reading() as connection:
        kept = [str(row) for table in ("people", "sessions", "record")
                for row in connection.execute(text(f"SELECT * FROM {table}"))]  # fmt: skip # noqa: S608
    for secret in (WORDS, code, open_code, token):
        assert not any(secret in row for row in kept)
    assert any("$argon2id$" in row for row in kept)


@pytest.mark.parametrize("weak", ["short", "a" * 40, "password1234", "ada-ada-lovelace!", "x" * 300])
def test_passwords_that_are_guessed_first_are_refused(people: People, weak: str) -> None:
    _, code = people.add("Root", "ada-lovelace", "reader")
    with pytest.raises(UsageError):
        people.accept(code, weak)
    people.accept(code, WORDS)  # the invitation was not used up


def test_the_last_administrator_stays(people: People) -> None:
    people.add("test", "Root", "admin")
    for new in ({"role": "reader"}, {"blocked": True}):
        with pytest.raises(ConflictError, match="last administrator"):
            people.change("Root", "Root", **new)
    people.add("Root", "Second", "admin")
    assert people.change("Root", "Root", role="reader").role == "reader"


@pytest.mark.parametrize(
    ("name", "role", "email"),
    [("", "reader", None), ("a\nb", "reader", None), ("Ada", "king", None), ("Ada", "reader", "nowhere")],
)
def test_what_is_nobody_is_refused(people: People, name: str, role: Any, email: str | None) -> None:
    with pytest.raises(UsageError):
        people.add("Root", name, role, email=email)


def test_a_name_belongs_to_one(people: People) -> None:
    people.add("Root", "Ada", "reader", email="a@b.c")
    with pytest.raises(ConflictError, match="already"):
        people.add("Root", "Ada", "reader")
    with pytest.raises(ConflictError, match="somebody else"):
        people.add("Root", "Ada 2", "reader", email="A@B.c")
    with pytest.raises(UnknownNameError, match="no project 'x'"):
        people.add("Root", "Bob", "reader", projects=["x"])
    assert [one.name for one in people.all()] == ["Ada"], "whoever could not be added whole is not there"


def test_projects_hold_slides_and_people(people: People, either: Database) -> None:
    projects = Projects(either, Record(either))
    people.add("test", "Ada", "reader")
    people.add("test", "Bob", "reader", projects=[])
    assert projects.all()[0].people == ("Ada",), "who is added sees everything, unless said otherwise"
    projects.put("Root", "lung", slides=["lung-*", " ", "lung-*"], members=["Bob", "Bob"])
    lung = projects.all()[1]
    assert (lung.slides, lung.people) == (("lung-*",), ("Bob",))
    with pytest.raises(UnknownNameError, match="Eve"):
        projects.put("Root", "lung", slides=[], members=["Eve"])
    assert projects.all()[1] == lung, "all of a change or none of it"
    with pytest.raises(UsageError, match="no name of a project"):
        projects.put("Root", "a/b", slides=[], members=[])
    projects.remove("Root", "everything")
    with pytest.raises(ConflictError, match="last project"):
        projects.remove("Root", "lung")


# ---------------------------------------------------------------------- sessions
def test_sessions_end_when_idle_and_when_old(people: People, either: Database) -> None:
    people.add("test", "Ada", "reader")
    ada, record = people.get("Ada"), Record(either)
    hours = timedelta(hours=1)
    idle = Sessions(either, record, Spans(idle=timedelta(0), longest=hours))
    old = Sessions(either, record, Spans(idle=hours, longest=timedelta(0)))
    kept = Sessions(either, record, Spans(idle=hours, longest=hours))
    assert idle.find(idle.begin(ada, way="test")) is None
    assert old.find(old.begin(ada, way="test")) is None
    token = kept.begin(ada, way="test")
    found = kept.find(token)
    assert found is not None
    assert (found.name, found.slides) == ("Ada", ("*",))
    kept.end(token, "Ada")
    assert kept.find(token) is None
    assert kept.find("nonsense") is None
    program = idle.begin(ada, way="test", kind="program", longest=hours)
    assert idle.find(program) is not None, "a program's token does not end when idle"


def test_a_session_in_use_stays(people: People, either: Database) -> None:
    people.add("test", "Ada", "reader")
    sessions = Sessions(either, Record(either), Spans(idle=timedelta(seconds=60), longest=timedelta(hours=1)))
    token = sessions.begin(people.get("Ada"), way="test")
    long_ago = {"seen": "2020-01-01T00:00:00.000+00:00", "digest": digest_of_code(token)}
    with either.writing() as connection:
        connection.execute(text("UPDATE sessions SET seen = :seen WHERE digest = :digest"), long_ago)
    assert sessions.find(token) is None
    half = {**long_ago, "seen": Record(either).lines()[0]["time"]}
    with either.writing() as connection:
        connection.execute(text("UPDATE sessions SET seen = :seen WHERE digest = :digest"), half)
    assert sessions.find(token) is not None


def test_one_person_holds_so_many_sessions(people: People, either: Database) -> None:
    people.add("test", "Ada", "reader")
    sessions = Sessions(either, Record(either))
    tokens = [sessions.begin(people.get("Ada"), way="test") for _ in range(52)]
    alive = [token for token in tokens if sessions.find(token) is not None]
    assert len(alive) == 50
    assert tokens[-1] in alive


def test_the_door_asks_the_database_now_and_then(people: People, either: Database) -> None:
    people.add("test", "Ada", "reader")
    sessions = Sessions(either, Record(either))
    door = AccountsDoor(sessions, secure=False)
    token = sessions.begin(people.get("Ada"), way="test")
    scope = {"headers": [(b"cookie", f"coverslip-login={token}".encode())]}
    assert door.admit(scope) is not None
    people.change("Root", "Ada", blocked=True)
    assert door.at_once(scope) is not None, "known for a few seconds"
    door.forget()
    assert door.admit(scope) is None


# ---------------------------------------------------------------------- over HTTP
def test_a_stranger_is_sent_to_the_login(group: TestClient) -> None:
    sent = group.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?then=%2F")
    for address in ("/api/slides", f"{SLIDE}/tiles/0/0/0", "/api/me"):
        answer = group.get(address)
        assert (answer.status_code, answer.json()["code"]) == (401, "login"), address
    assert group.get("/assets/none.js").status_code == 404, "the page's own code is no secret"
    page = group.get("/login").text
    assert "<form" in page
    assert "<script" not in page


def test_a_browser_logs_in_and_out(group: TestClient) -> None:
    wrong = log_in(group, "Ada", "not this one")
    assert wrong.status_code == 403
    assert "Name or password are wrong" in wrong.text
    answer = log_in(group, "Ada")
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if "__Host-coverslip" in one]
    for part in ("HttpOnly", "Secure", "Path=/", "SameSite=strict", "Max-Age=43200"):
        assert part in cookie
    assert "max-age=31536000" in answer.headers["strict-transport-security"]
    me = group.get("/api/me").json()
    assert (me["name"], me["role"], me["accounts"]) == ("Ada", "annotator", True)
    assert group.get(f"{SLIDE}/tiles/0/0/0").status_code == 200
    assert group.post("/api/logout").status_code == 204
    assert group.get("/api/me").status_code == 401
    assert group.get(f"{SLIDE}/tiles/0/0/0").status_code == 401


def test_a_login_sends_nobody_elsewhere(group: TestClient) -> None:
    for then in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "\t//e.x",
    ):
        data = {"name": "Ada", "password": WORDS, "then": then}
        page = group.post("/login", data=data).text
        assert 'content="0;url=/"' in page
        assert "evil" not in page
    page = group.get("/login", params={"then": '/"><script>alert(1)</script>'}).text
    assert "<script>" not in page


def test_changes_need_the_token_of_the_page(group: TestClient) -> None:
    log_in(group, "Ada")
    square = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}
    shape = {"id": "s1", "kind": "polygon", "geometry": square}
    right = group.headers.pop("x-coverslip-csrf")
    for headers in ({}, {"x-coverslip-csrf": "wrong"}, {"x-coverslip-csrf": csrf_of("another")}):
        answer = group.post(f"{SLIDE}/shapes", json=shape, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf")
    elsewhere = {"x-coverslip-csrf": right, "origin": "https://evil.example"}
    assert group.post(f"{SLIDE}/shapes", json=shape, headers=elsewhere).status_code == 403
    by_frame = {"x-coverslip-csrf": right, "sec-fetch-site": "cross-site"}
    assert group.post(f"{SLIDE}/shapes", json=shape, headers=by_frame).status_code == 403
    ours = {"x-coverslip-csrf": right, "origin": URL, "sec-fetch-site": "same-origin"}
    assert group.post(f"{SLIDE}/shapes", json=shape, headers=ours).status_code == 201
    login = {"name": "Ada", "password": WORDS}
    assert group.post("/login", data=login, headers={"origin": "https://evil.example"}).status_code == 403


def test_roles_over_http(group: TestClient) -> None:
    log_in(group, "Rob")
    assert group.get("/api/people").status_code == 403
    answer = group.post(f"{SLIDE}/shapes", json={"id": "s", "kind": "point", "geometry": {}})
    assert answer.status_code == 403
    assert "annotator" in answer.json()["error"]


def test_an_administrator_adds_and_blocks(group: TestClient) -> None:
    log_in(group, "Root")
    added = group.post("/api/people", json={"name": "Eva", "role": "annotator"}).json()
    link = added["invitation"]
    assert link.startswith(f"{URL}/login/invitation?code=")
    assert WORDS not in group.get("/api/people").text
    guest = TestClient(group.app, base_url=URL)
    page = guest.get(link).text
    assert "Welcome, Eva" in page
    code = link.partition("code=")[2]
    weak = guest.post("/login/invitation", data={"code": code, "password": "short", "again": "short"})
    assert (weak.status_code, "5 characters" in weak.text) == (422, True)
    assert (
        guest.post("/login/invitation", data={"code": code, "password": WORDS, "again": "x"}).status_code
        == 422
    )
    done = guest.post("/login/invitation", data={"code": code, "password": WORDS, "again": WORDS})
    assert done.status_code == 200
    assert guest.get("/api/me").json()["name"] == "Eva"
    assert "does not work" in guest.get(link).text
    assert group.put("/api/people/Eva", json={"blocked": True}).json()["blocked"] is True
    assert guest.get("/api/me").status_code == 401, "a block works at once"
    assert log_in(guest, "Eva").status_code == 403
    kept = [
        (one["person"], one["action"], one["subject"]) for one in group.get("/api/record").json()["lines"]
    ]
    for line in (("Root", "add person", "Eva"), ("Eva", "set password", "Eva"),
                 ("Eva", "log in", "invitation"), ("Root", "change person", "Eva"),
                 ("Eva", "login refused", "password")):  # fmt: skip
        assert line in kept


def test_people_see_the_slides_of_their_projects(group: TestClient, database: Database) -> None:
    projects = Projects(database, Record(database))
    projects.put("Root", "everything", slides=["*"], members=["Root"])
    projects.put("Root", "lung", slides=["lung-*"], members=["Ada", "Rob"])
    projects.put("Root", "mine", slides=["a sl*"], members=["Rob"])
    log_in(group, "Ada")
    assert group.get("/api/slides").json() == []
    for address in (
        SLIDE,
        f"{SLIDE}/thumbnail",
        f"{SLIDE}/tiles/0/0/0",
        f"{SLIDE}/shapes",
        f"{SLIDE}/overlays",
    ):
        answer = group.get(address)
        assert answer.status_code == 404, address
        assert "no" in answer.json()["error"]
    assert group.post(f"{SLIDE}/readings").status_code == 404
    log_in(group, "Rob")
    assert [one["id"] for one in group.get("/api/slides").json()] == ["a slide"]
    assert group.get(f"{SLIDE}/tiles/0/0/0").status_code == 200
    log_in(group, "Root")
    assert group.get(SLIDE).status_code == 200, "an administrator sees all"
    assert group.delete("/api/projects/lung").status_code == 204
    assert {one["name"] for one in group.get("/api/projects").json()} == {"everything", "mine"}


def test_a_programs_token(group: TestClient, database: Database) -> None:
    record = Record(database)
    ada = People(database, record).get("Ada")
    token = Sessions(database, record).begin(ada, way="test", kind="program")
    program = TestClient(group.app, base_url=URL, headers={"authorization": f"Bearer {token}"})
    assert program.get("/api/slides").status_code == 200
    point = {"id": "p", "kind": "point", "geometry": {"type": "Point", "coordinates": [1, 1]}}
    assert program.post(f"{SLIDE}/shapes", json=point).status_code == 201


# ---------------------------------------------------------------------- limits
def test_guessing_is_slowed(group: TestClient) -> None:
    answers = [log_in(group, "Ada", f"wrong {number}") for number in range(11)]
    assert [one.status_code for one in answers[-2:]] == [403, 429]
    assert int(answers[-1].headers["retry-after"]) > 10
    assert log_in(group, "Ada").status_code == 429, "not even the right one"
    assert log_in(group, "Rob").status_code == 200, "others still come in"


def test_one_person_cannot_take_it_all(library: Library, database: Database) -> None:
    people = People(database, Record(database))
    for name in ("Root", "Ada"):
        people.accept(people.add("test", name, "admin")[1], WORDS)
    site = site_of(library, database)
    few = Limits(asking=Buckets(0.1, 5), tiles=Buckets(0.1, 3), strangers=Buckets(0.1, 4))
    app = make_app(Site(**{**site.__dict__, "limits": few}))
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
        log_in(client, "Ada")
        statuses = [client.get(f"{SLIDE}/tiles/0/{n}/0").status_code for n in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert [client.get("/api/slides").status_code for _ in range(6)][-1] == 429
        other = TestClient(app, base_url=URL)
        log_in(other, "Root")
        assert other.get(f"{SLIDE}/tiles/0/0/0").status_code == 200
        stranger = TestClient(app, base_url=URL)
        assert {stranger.get("/api/slides").status_code for _ in range(6)} == {401, 429}


def test_limits_remember_only_so_many() -> None:
    buckets = Buckets(1, 1, most=100)
    for who in range(10_000):
        buckets.wait(who, at=0)
    assert len(buckets) == 100


# ---------------------------------------------------------------------- settings
def test_a_database_without_administrator_is_refused(library: Library, database: Database) -> None:
    with pytest.raises(UsageError, match="nobody administers") as refused:
        site_of(library, database)
    assert "users add" in (refused.value.mend or "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "slides.example"}, "expected scheme"),
        ({"url": "https://a.example/path"}, "expected scheme"),
        ({"url": "http://a.example"}, "for all to read"),
        ({"url": "https://a.example"}, "needs tls"),
        ({"url": "https://a.example", "tls": {"certificate": "/none", "key": "/none"}}, "tls.certificate"),
        ({"url": "http://127.0.0.1:1", "passwords": False}, "must be oidc"),
        ({"url": "http://127.0.0.1:1", "sesion": {}}, "Extra inputs"),
    ],
)
def test_settings_that_are_not_safe(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    import yaml

    from coverslip.server.accounts.settings import read_settings

    (tmp_path / "a.yaml").write_text(yaml.safe_dump(given))
    with pytest.raises(UsageError, match=re.escape(said)):
        read_settings(str(tmp_path / "a.yaml"))
