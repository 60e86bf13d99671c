"""The log of a run: one line of JSON per event, appended whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from coverslip.store.writing import disk_full_said


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a slide at a stage, or to the run.

    Attributes
    ----------
    status
        ``"done"``, ``"failed"`` (of a slide and stage; ``stage`` is ``"open"`` when the slide could not be
        opened), ``"started"``, ``"finished"``, ``"interrupted"`` (of the run).
    slide, stage
        None for events of the run.
    error, message, mend
        Name of the error, what was wrong, what to do.
    traceback
        Only of errors that nobody foresaw.
    given
        By artefact key, how many tiles or objects reached the stage, and how many there were.
    time
        UTC, ISO 8601.
    """

    status: str
    slide: str | None = None
    stage: str | None = None
    seconds: float | None = None
    error: str | None = None
    message: str | None = None
    mend: str | None = None
    traceback: str | None = None
    note: Any = None
    given: Mapping[str, Any] | None = None
    time: str = ""

    def to_json(self) -> str:
        """Return one line; what is None is left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(
            {key: value for key, value in values.items() if value is not None}, ensure_ascii=False
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from a line's values; what a later version added is ignored."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def append(path: Path, event: Event) -> None:
    """Append one event; several processes may do so at once.

    Raises
    ------
    StoreError
        When the disk is full.
    """
    stamp = event.time or datetime.now(UTC).isoformat(timespec="milliseconds")
    line = Event.from_dict(
        {f.name: getattr(event, f.name) for f in fields(event)} | {"time": stamp}
    ).to_json()
    with disk_full_said(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # one write call of one line: POSIX appends it in one piece
            os.write(descriptor, (line + "\n").encode())
        finally:
            os.close(descriptor)


def read(path: Path, start: int = 0) -> tuple[list[Event], int]:
    """Return the events from byte `start`, and the byte after the last whole line.

    A line cut off by a crash is left out.
    """
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    end = data.rfind(b"\n") + 1
    events = []
    for line in data[:end].splitlines():
        try:
            events.append(Event.from_dict(json.loads(line)))
        except (ValueError, TypeError):
            continue  # a line torn by a full disk says nothing
    return events, start + end
