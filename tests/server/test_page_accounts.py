"""The page of a group in Chromium: an invitation, a login that expires meanwhile, a signed report."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import PATIENCE, barriers

from coverslip.server.accounts import People
from coverslip.server.db import Database, Record

WORDS = "seven quiet herons"


class Group:
    """A server of a group, and its database."""

    def __init__(self, url: str, database: Database) -> None:
        self.url, self.database = url, database
        self.people = People(database, Record(database))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory, slide_path: Path) -> Iterator[Group]:
    folder = tmp_path_factory.mktemp("group")
    database = Database(str(folder / "people.sqlite"))
    People(database, Record(database)).add("test", "Root", "admin")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "accounts.yaml").write_text(f"url: http://127.0.0.1:{port}\ndb: {folder / 'people.sqlite'}\n")
    words = ["view", str(slide_path), "--accounts", str(folder / "accounts.yaml"), "--port", str(port)]
    command = [sys.executable, "-m", "coverslip", *words, "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield Group(json.loads(server.stdout.readline())["url"], database)
        server.terminate()
    database.close()


@pytest.fixture
def page(browser: object, group: Group) -> Iterator[object]:
    """A browser in which somebody has just accepted an invitation as an annotator."""
    name = f"Ada {len(group.people.all())}"
    _, code = group.people.add("test", name, "annotator")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(f"{group.url}login/invitation?code={code}")
    opened.get_by_label("Password").fill(WORDS)
    opened.get_by_label("Once more").fill(WORDS)
    opened.get_by_role("button", name="Set password").click()
    opened.get_by_text("x · ").wait_for()
    yield opened
    context.close()
    assert said == []


def waiting(page: object) -> int:
    return len(json.loads(page.evaluate("localStorage.getItem('coverslip-outbox') ?? '[]'")))


def test_a_login_that_expires_loses_nothing(page: object, group: Group) -> None:
    name = page.locator(".who summary").inner_text()
    page.get_by_role("tab", name="Annotate").click()
    page.get_by_role("button", name="Rectangle", exact=True).click()
    page.context.clear_cookies()
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(500, 380, steps=5)
    page.mouse.up()
    dialog = page.get_by_role("dialog", name="Your login has expired")
    dialog.get_by_text("1 change of yours").wait_for()
    assert waiting(page) == 1
    assert barriers(page) == []
    with page.context.expect_page() as coming:
        dialog.get_by_role("button", name="Log in").click()
    login = coming.value
    assert barriers(login) == []
    login.get_by_label("Name").fill(name)
    login.get_by_label("Password").fill(WORDS)
    login.get_by_role("button", name="Log in").click()
    login.get_by_text("Close this window").wait_for()
    dialog.wait_for(state="hidden")
    page.wait_for_function("() => (localStorage.getItem('coverslip-outbox') ?? '[]') === '[]'")
    (kept,) = page.evaluate("async () => (await fetch('api/slides/a%20slide/shapes')).json()")
    assert (kept["kind"], kept["author"]) == ("rectangle", name)


def test_a_report_is_drafted_and_signed(page: object) -> None:
    page.get_by_role("button", name="Report", exact=True).click()
    page.get_by_role("button", name="Draft a report").click()
    page.get_by_label("Conclusion").fill("Benign.")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("version 1.2").wait_for()
    assert barriers(page) == []
    page.get_by_text("I have read this report").click()
    page.get_by_role("button", name="Sign").click()
    page.get_by_text("version 1, signed by Ada").wait_for()
    page.get_by_label("Conclusion").fill("Benign, seen again.")
    page.get_by_role("button", name="Save as a new version").click()
    page.get_by_text("draft, version 2.1").wait_for()
    address = page.get_by_role("link", name="PDF").get_attribute("href")
    first = page.evaluate("async (at) => (await (await fetch(at)).text()).slice(0, 5)", address)
    assert first == "%PDF-"


def test_an_administrator_sees_people_and_record(page: object, group: Group) -> None:
    name = page.locator(".who summary").inner_text()
    group.people.change("test", name, role="admin")  # ends the login, here ten seconds later at most
    page.context.clear_cookies()
    page.reload()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(WORDS)
    page.get_by_role("button", name="Log in").click()
    page.locator(".who summary").click()
    page.get_by_role("button", name="Administration").click()
    dialog = page.get_by_role("dialog", name="Administration")
    dialog.get_by_text("The chain is whole").wait_for()
    dialog.get_by_label("Name", exact=True).fill("Bob")
    dialog.get_by_role("button", name="Add and invite").click()
    link = dialog.get_by_label("Invitation of Bob").input_value()
    assert "/login/invitation?code=" in link
    assert barriers(page) == []
    dialog.get_by_role("button", name="Block Bob").click()
    dialog.get_by_role("button", name="Unblock Bob").wait_for()
    assert group.people.get("Bob").blocked
