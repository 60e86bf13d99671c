"""Progress on stderr: bars on a terminal, failures everywhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import click

from coverslip.pipeline import Listener, Outcome
from coverslip.store import Event


class Failures(Listener):
    """Tells of each slide that fails, when it does."""

    def end(self, outcome: Outcome) -> None:
        """Print why a slide failed."""
        if outcome.failure is not None:
            click.echo(failure_line(outcome.slide, outcome.failure), err=True)


class Bars(Failures):
    """Two bars: slides, and stages of all slides."""

    def __init__(self, progress: Any, stages: int) -> None:
        self._progress, self._stages = progress, stages
        self._of_slides = self._of_stages = None
        self._done: dict[str, int] = {}

    def begin(self, slides: int, fresh: int) -> None:
        """Set up the bars; slides whose results hold count as done."""
        self._of_slides = self._progress.add_task("slides", total=slides, completed=fresh, now="")
        total, done = slides * self._stages, fresh * self._stages
        self._of_stages = self._progress.add_task("stages", total=total, completed=done, now="")

    def event(self, event: Event) -> None:
        """Move the bar of the stages."""
        if event.status == "done" and event.slide is not None:
            self._done[event.slide] = self._done.get(event.slide, 0) + 1
            self._progress.update(self._of_stages, advance=1, now=f"{event.slide}: {event.stage}")

    def end(self, outcome: Outcome) -> None:
        """Move the bar of the slides; what a slide did not compute counts as done."""
        rest = self._stages - self._done.pop(outcome.slide, 0)
        self._progress.update(self._of_stages, advance=max(0, rest))
        self._progress.update(self._of_slides, advance=1, now=f"{outcome.slide}: {outcome.status}")
        if outcome.failure is not None:
            self._progress.console.print(
                failure_line(outcome.slide, outcome.failure), markup=False, soft_wrap=True
            )


def failure_line(slide: str | None, failure: Event) -> str:
    """Return a failure as a person reads it.

    Examples
    --------
    >>> failure_line("a", Event("failed", "a", "tiles", message="no tissue", mend="look at it"))
    'a failed at tiles: no tissue; to mend: look at it'
    """
    mend = f"; to mend: {failure.mend}" if failure.mend else ""
    return f"{slide or 'the run'} failed at {failure.stage}: {failure.message}{mend}"


@contextlib.contextmanager
def listener(stages: int, *, quiet: bool) -> Iterator[Listener]:
    """Yield what tells of a run's progress: bars on a terminal, else failures alone, or nothing."""
    if quiet:
        yield Listener()
    elif not sys.stderr.isatty():
        yield Failures()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:6}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        now = TextColumn("{task.fields[now]}", style="dim")
        with Progress(*columns, now, console=Console(stderr=True)) as progress:
            yield Bars(progress, stages)
