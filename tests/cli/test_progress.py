"""Progress: bars on a terminal, failures everywhere, nothing when quiet."""

from __future__ import annotations

import io
from importlib import import_module

import pytest

from coverslip.cli.bench import BENCHES
from coverslip.cli.progress import Bars, listener
from coverslip.pipeline import Listener, Outcome
from coverslip.store import Event

FAILURE = Event("failed", "b", "tiles", message="no tissue", mend="look at it")


def test_bars_count_slides_and_stages() -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    said = io.StringIO()
    with Progress(TextColumn("{task.description}"), console=Console(file=said, width=200)) as progress:
        bars = Bars(progress, stages=3)
        bars.begin(slides=3, fresh=1)
        slides, stages = progress.tasks
        assert (slides.completed, slides.total, stages.completed, stages.total) == (1, 3, 3, 9)
        bars.event(Event("done", "a", "open"))
        bars.event(Event("started"))
        assert (slides.completed, stages.completed) == (1, 4)
        bars.end(Outcome("a", "done", computed=("open",)))
        assert (slides.completed, stages.completed) == (2, 6)
        bars.end(Outcome("b", "failed", FAILURE))
        assert (slides.completed, stages.completed) == (3, 9)
    assert "b failed at tiles: no tissue; to mend: look at it" in said.getvalue()


def test_off_a_terminal_only_failures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with listener(3, quiet=False) as heard:
        heard.begin(2, 0)
        heard.event(Event("done", "a", "open"))
        heard.end(Outcome("a", "done"))
        heard.end(Outcome("b", "failed", FAILURE))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "b failed at tiles: no tissue; to mend: look at it\n")


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with listener(3, quiet=True) as heard:
        assert type(heard) is Listener
        heard.end(Outcome("b", "failed", FAILURE))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_can_be_run(name: str) -> None:
    assert callable(import_module(BENCHES[name]).run)
