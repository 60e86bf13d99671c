"""The log: whole lines, from several processes at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from coverslip.store import Event, log


def test_events_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log.append(path, Event("done", "a", "tissue", seconds=0.5))
    log.append(path, Event("failed", "a", "tiles", error="StainError", message="brown", mend="leave it out"))
    first, second = log.read(path)[0]
    assert (first.status, first.slide, first.stage, first.seconds) == ("done", "a", "tissue", 0.5)
    assert (second.error, second.message, second.mend) == ("StainError", "brown", "leave it out")
    assert first.time <= second.time


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log.append(path, Event("started"))
    with path.open("a") as file:
        file.write('{"status": "do')
    events, end = log.read(path)
    assert [event.status for event in events] == ["started"]
    with path.open("a") as file:
        file.write('ne"}\n')
    assert [event.status for event in log.read(path, end)[0]] == ["done"]


def test_many_writers_tear_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: log.append(path, Event("done", str(i), message="x" * 5000)), range(200)))
    assert {event.slide for event in log.read(path)[0]} == {str(i) for i in range(200)}


def test_no_log_is_an_empty_log(tmp_path: Path) -> None:
    assert log.read(tmp_path / "none.jsonl") == ([], 0)
