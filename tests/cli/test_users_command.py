"""``coverslip users`` and ``coverslip record`` as an administrator types them."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from coverslip.cli.main import main

pytest.importorskip("sqlalchemy", reason='the server is not installed: pip install "coverslip[server]"')
pytest.importorskip("argon2", reason='the server is not installed: pip install "coverslip[server]"')


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "people.sqlite"


def typed(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_people_are_added_listed_and_changed(db: Path) -> None:
    added = typed("users", "add", "Ada Lovelace", "--role", "admin", "--db", db, "--json")
    assert added.exit_code == 0, added.output
    told = json.loads(added.stdout)
    assert told["invitation"].startswith("/login/invitation?code=")
    assert typed("users", "add", "Bob", "--email", "bob@lab.example", "--db", db).exit_code == 0
    changed = typed("users", "change", "Bob", "--role", "annotator", "--block", "--db", db, "--json")
    assert json.loads(changed.stdout) == {"name": "Bob", "role": "annotator", "blocked": True}
    people = {one["name"]: one for one in json.loads(typed("users", "list", "--db", db, "--json").stdout)}
    assert (people["Bob"]["email"], people["Bob"]["blocked"]) == ("bob@lab.example", True)
    again = json.loads(typed("users", "invite", "Ada Lovelace", "--db", db, "--json").stdout)["invitation"]
    assert again != told["invitation"]
    table = typed("users", "list", "--db", db).stdout
    assert "Ada Lovelace" in table


def test_what_cannot_be_is_said(db: Path) -> None:
    typed("users", "add", "Ada", "--role", "admin", "--db", db)
    for words, said in (
        (("users", "add", "Ada"), "already"),
        (("users", "change", "Eve", "--block"), "nobody called 'Eve'"),
        (("users", "change", "Ada", "--block"), "last administrator"),
        (("users", "add", "Bob", "--project", "lung"), "no project 'lung'"),
    ):
        found = typed(*words, "--db", db)
        assert found.exit_code == 2
        assert said in found.stderr
        assert "to mend" in found.stderr


def test_projects_and_tokens(db: Path) -> None:
    typed("users", "add", "Ada", "--db", db)
    put = typed(
        "users", "projects", "--put", "lung", "--slide", "lung-*", "--person", "Ada", "--db", db, "--json"
    )
    assert {one["name"]: one["slides"] for one in json.loads(put.stdout)} == {
        "everything": ["*"],
        "lung": ["lung-*"],
    }
    left = typed("users", "projects", "--remove", "everything", "--db", db)
    assert "everything" not in left.stdout
    token = json.loads(typed("users", "token", "Ada", "--days", "1", "--db", db, "--json").stdout)["token"]
    from coverslip.server.accounts import Sessions
    from coverslip.server.db import Database, Record

    database = Database(str(db))
    found = Sessions(database, Record(database)).find(token)
    database.close()
    assert found is not None
    assert found.slides == ("lung-*",)


def test_the_record_is_verified_and_exported(db: Path) -> None:
    for name in ("Ada", "Bob", "Eva"):
        typed("users", "add", name, "--db", db)
    whole = json.loads(typed("record", "verify", "--db", db, "--json").stdout)
    assert (whole["count"], whole["whole"], whole["first_break"]) == (3, True, None)
    lines = list(csv.DictReader(io.StringIO(typed("record", "export", "--db", db).stdout)))
    assert [line["subject"] for line in lines] == ["Ada", "Bob", "Eva"]
    exported = json.loads(typed("record", "export", "--format", "json", "--db", db).stdout)
    assert exported[2]["digest"] == whole["last"]
    assert typed("record", "verify", "--expect", whole["last"], "--db", db).exit_code == 0
    with sqlite3.connect(db) as raw:  # somebody cuts the last line off, behind the triggers' back
        raw.execute("DROP TRIGGER record_no_delete")
        raw.execute("DELETE FROM record WHERE subject = 'Eva'")
    raw.close()
    assert typed("record", "verify", "--db", db).exit_code == 0, "the chain alone does not tell"
    assert typed("record", "verify", "--expect", whole["last"], "--db", db).exit_code == 1
    with sqlite3.connect(db) as raw:
        raw.execute("DROP TRIGGER record_no_update")
        raw.execute("UPDATE record SET person = 'Eve' WHERE subject = 'Ada'")
    raw.close()
    found = typed("record", "verify", "--db", db, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["first_break"] == 1


def test_an_empty_record_is_whole(db: Path) -> None:
    assert json.loads(typed("record", "verify", "--db", db, "--json").stdout)["count"] == 0
    assert json.loads(typed("record", "export", "--format", "json", "--db", db).stdout) == []


def test_settings_stand_for_the_database(tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_text(f"url: https://slides.example\nproxy: 127.0.0.1\ndb: {tmp_path / 'p.sqlite'}\n")
    told = json.loads(typed("users", "add", "Ada", "--db", file, "--json").stdout)
    assert told["invitation"].startswith("https://slides.example/login/invitation?code=")
    file.write_text("url: https://slides.example\nproxy: 127.0.0.1\n")
    found = typed("users", "list", "--db", file)
    assert found.exit_code == 2
    assert "names no db" in found.stderr


def test_other_machines_need_accounts(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (300, 300)).save(tmp_path / "a.png")
    found = typed(
        "view",
        tmp_path / "a.png",
        "--host",
        "0.0.0.0",  # noqa: S104
        "--db",
        tmp_path / "p.sqlite",
        "--no-browser",
    )
    assert found.exit_code == 2
    assert "--accounts" in found.stderr
