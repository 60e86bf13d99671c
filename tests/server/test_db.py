"""What people leave behind: kept, ordered, never overwritten unseen; on SQLite and on PostgreSQL."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason='the server is not installed: pip install "coverslip[server]"')

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from coverslip.core.errors import ConflictError, GeometryError, StoreError, UnknownNameError, UsageError
from coverslip.server.access import Person
from coverslip.server.db import Database, Drawings, Readings, Record
from coverslip.server.db.drawings import as_annotations
from coverslip.server.db.readings import STUDY

ADA, BOB = Person("1", "Ada", "annotator"), Person("2", "Bob", "annotator")
ROOT = Person("3", "Root", "admin")
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}


@pytest.fixture
def database(either: Database) -> Database:
    return either


@pytest.fixture
def record(database: Database) -> Record:
    return Record(database)


@pytest.fixture
def drawings(database: Database, record: Record) -> Drawings:
    return Drawings(database, record)


@pytest.fixture
def readings(database: Database, record: Record) -> Readings:
    return Readings(database, record)


def shape(name: str = "s1", **other: Any) -> dict[str, Any]:
    return {"id": name, "kind": "polygon", "class_name": "tumour", "geometry": SQUARE, **other}


# ---------------------------------------------------------------------- shapes
def test_a_shape_is_kept_with_author_and_time(drawings: Drawings) -> None:
    drawings.add(ADA, "a", shape())
    (kept,) = drawings.of("a")
    assert (kept.author, kept.version, kept.geometry) == ("Ada", 1, SQUARE)
    assert kept.created.endswith("+00:00")
    assert drawings.of("b") == []
    (known,) = as_annotations([kept]).shapes
    assert (known.author, known.area_px, known.class_name) == ("Ada", 100, "tumour")


def test_a_request_that_comes_twice_draws_once(drawings: Drawings, record: Record) -> None:
    for _ in range(2):
        drawings.add(ADA, "a", shape())
    assert len(drawings.of("a")) == 1
    assert [line["action"] for line in record.lines()] == ["draw"]
    with pytest.raises(ConflictError, match="already"):
        drawings.add(BOB, "a", shape())


def test_the_second_of_two_people_is_told(drawings: Drawings) -> None:
    drawings.add(ADA, "a", shape())
    drawings.change(BOB, "a", shape(class_name="stroma", version=1))
    with pytest.raises(ConflictError, match="Bob changed this shape"):
        drawings.change(ADA, "a", shape(class_name="necrosis", version=1))
    (kept,) = drawings.of("a")
    assert (kept.class_name, kept.author, kept.changed_by, kept.version) == ("stroma", "Ada", "Bob", 2)
    drawings.remove(ADA, "a", "s1", 2)
    with pytest.raises(ConflictError, match="Ada removed this shape"):
        drawings.change(BOB, "a", shape(version=2))
    assert drawings.of("a") == []


def test_many_at_once_lose_nothing(drawings: Drawings, record: Record) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: drawings.add(ADA, "a", shape(f"s{i}")), range(60)))
    assert len(drawings.of("a")) == 60
    assert record.first_break() is None


def test_import_is_all_or_nothing(drawings: Drawings) -> None:
    assert drawings.add_all(ADA, "a", [shape("x"), shape("y")]) == 2
    with pytest.raises(GeometryError):
        drawings.add_all(ADA, "a", [shape("z"), shape("w", geometry={"type": "Polygon"})])
    assert [one.id for one in drawings.of("a")] == ["x", "y"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"name": ""}, UsageError),
        ({"name": "../../etc"}, UsageError),
        ({"kind": "star"}, UsageError),
        ({"geometry": None}, GeometryError),
        ({"geometry": {"type": "LineString", "coordinates": [[0, 0], [1, float("nan")]]}}, GeometryError),
        ({"geometry": {"type": "MultiPoint", "coordinates": [[0, 0]] * 200_001}}, GeometryError),
    ],
)  # fmt: skip
def test_what_is_no_shape_is_refused(
    drawings: Drawings, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        drawings.add(ADA, "a", shape(**wrong))
    assert drawings.of("a") == []


def test_a_shape_that_is_not_there(drawings: Drawings) -> None:
    with pytest.raises(UnknownNameError, match="no shape s9"):
        drawings.change(ADA, "a", shape("s9", version=1))


# ---------------------------------------------------------------------- the record
def test_the_record_cannot_be_changed(database: Database, drawings: Drawings, record: Record) -> None:
    drawings.add(ADA, "a", shape())
    for line in ("UPDATE record SET person = 'Eve'", "DELETE FROM record"):
        with pytest.raises(SQLAlchemyError, match="append-only"), database.writing() as connection:
            connection.execute(text(line))
    assert record.lines()[0]["person"] == "Ada"


def test_a_change_behind_the_back_shows(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "p.sqlite"))
    record = Record(database)
    for number in range(5):
        record.note("Ada", "look", f"slide {number}")
    assert record.first_break() is None
    database.close()
    with sqlite3.connect(tmp_path / "p.sqlite") as raw:
        raw.execute("DROP TRIGGER record_no_update")
        raw.execute("UPDATE record SET person = 'Eve' WHERE id = 3")
    raw.close()
    assert Record(Database(str(tmp_path / "p.sqlite"))).first_break() == 3


# ---------------------------------------------------------------------- readings
MODEL = {"label": "tumour", "confidence": 0.91, "model": "m", "version": 1}


def test_the_own_finding_comes_first(readings: Readings) -> None:
    begun = readings.open(ADA, "a")
    with pytest.raises(ConflictError, match="your own finding comes first"):
        readings.reveal(ADA, begun.id, MODEL)
    with pytest.raises(UsageError, match="needs a label"):
        readings.lock(ADA, begun.id, {"label": " "})
    locked = readings.lock(ADA, begun.id, {"label": "benign", "confidence": 0.6})
    assert locked.is_whole
    with pytest.raises(ConflictError, match="was locked"):
        readings.lock(ADA, begun.id, {"label": "tumour"})
    with pytest.raises(ConflictError, match="not shown yet"):
        readings.decide(ADA, begun.id, "agree", "")
    shown = readings.reveal(ADA, begun.id, MODEL)
    assert shown.suggestion == MODEL
    with pytest.raises(UsageError, match="needs a reason"):
        readings.decide(ADA, begun.id, "override", " ")
    done = readings.decide(ADA, begun.id, "override", "mitoses that I had missed")
    assert done.final == MODEL
    assert done.finding is not None
    assert done.finding["label"] == "benign", "both are kept"
    with pytest.raises(ConflictError, match="was decided"):
        readings.decide(ADA, begun.id, "agree", "")


def test_a_reading_goes_on_where_it_was_left(readings: Readings) -> None:
    begun = readings.open(ADA, "a")
    assert readings.open(ADA, "a").id == begun.id
    assert readings.open(BOB, "a").id != begun.id
    with pytest.raises(UnknownNameError, match="of yours"):
        readings.get(BOB, begun.id)
    assert readings.get(ROOT, begun.id).reader == "Ada"


def test_a_study_is_exported(readings: Readings) -> None:
    for person, own, decision in ((ADA, "benign", "override"), (BOB, "tumour", "agree")):
        begun = readings.open(person, "a")
        readings.lock(person, begun.id, {"label": own})
        readings.reveal(person, begun.id, MODEL)
        readings.decide(person, begun.id, decision, "=SUM(1)")
    lines = readings.study().splitlines()
    assert lines[0].split(",") == list(STUDY)
    assert ",benign,tumour,override,tumour,True," in lines[1]
    assert ",tumour,tumour,agree,tumour,False," in lines[2]
    assert "'=SUM(1)" in lines[1], "a spreadsheet must not take it for a formula"


def test_a_finding_changed_behind_the_back_shows(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "p.sqlite"))
    readings = Readings(database, Record(database))
    begun = readings.open(ADA, "a")
    readings.lock(ADA, begun.id, {"label": "benign"})
    with database.writing() as connection:
        connection.execute(text('UPDATE readings SET finding = \'{"label": "tumour"}\''))
    assert not readings.get(ADA, begun.id).is_whole


# ---------------------------------------------------------------------- the database
def test_databases_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no database"):
        Database("oracel://x")
    with pytest.raises(StoreError, match="cannot be opened"):
        Database(str(tmp_path / "no" / "folder" / "p.sqlite"))
    (tmp_path / "text.sqlite").write_text("this is no database" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        Database(str(tmp_path / "text.sqlite"))


WRITER = """
import sys
from coverslip.server.access import Person
from coverslip.server.db import Database, Drawings, Record
database = Database(sys.argv[1])
drawings = Drawings(database, Record(database))
square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
for number in range(int(sys.argv[2]), 10**9):
    shape = {"id": f"s{number}", "kind": "polygon", "geometry": square}
    drawings.add(Person("1", "Ada", "annotator"), "a", shape)
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path, first = tmp_path / "p.sqlite", 0
    for round_ in range(5):
        command = [sys.executable, "-c", WRITER, str(path), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            last = first - 1
            for _ in range(5 + 7 * round_):
                last = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            last = max([last, *map(int, writer.stdout.read().split())])
        database = Database(str(path))
        kept = {one.id for one in Drawings(database, Record(database)).of("a")}
        assert {f"s{number}" for number in range(last + 1)} <= kept
        assert Record(database).first_break() is None
        database.close()
        first = len(kept)
