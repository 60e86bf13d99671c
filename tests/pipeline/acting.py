"""Small stages that act out what real ones may do; workers import them by this module's name."""

# ruff: noqa: ARG002 - a stage takes slide and inputs, whether it needs them or not
from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from coverslip.core.errors import StainError
from coverslip.pipeline import Listener
from coverslip.store import Derived, FeatureStream, Table


@dataclass(frozen=True)
class Brightness:
    """Mean brightness of the thumbnail, times a factor."""

    name: ClassVar[str] = "brightness"
    version: ClassVar[int] = 1
    factor: float = 1.0

    def reads(self) -> tuple[str, ...]:
        return ("thumbnail",)

    def writes(self) -> tuple[str, ...]:
        return ("tables/brightness",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        value = float(inputs["thumbnail"].mean()) * self.factor
        return {"tables/brightness": Table({"value": np.array([value])}), "notes": ["bright"]}


@dataclass(frozen=True)
class Doubled:
    """Twice the brightness; misbehaves on slides by name."""

    name: ClassVar[str] = "doubled"
    version: ClassVar[int] = 1
    diary: str = ""

    def reads(self) -> tuple[str, ...]:
        return ("tables/brightness",)

    def writes(self) -> tuple[str, ...]:
        return ("tables/doubled",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.diary:
            with Path(self.diary).open("a") as file:
                file.write(f"{slide.id}\n")
        act(slide.id)
        return {"tables/doubled": {"value": 2 * inputs["tables/brightness"]["value"]}}


def act(slide_id: str) -> None:
    """Do what the slide's name asks for."""
    if "brown" in slide_id:
        raise StainError("this slide is brown", mend="leave it out")
    if "fault" in slide_id:
        raise ZeroDivisionError("nobody thought of this")
    if "kill" in slide_id:
        os.kill(os.getpid(), signal.SIGKILL)
    if "slow" in slide_id:
        time.sleep(30)


@dataclass(frozen=True)
class Counting:
    """Streams the numbers 0 … n − 1, and sums them up; dies after `stop` rows of one run."""

    name: ClassVar[str] = "counting"
    version: ClassVar[int] = 1
    n: int = 20
    marker: str = ""

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> tuple[str, ...]:
        return ("features/counting", "tables/sum")

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        start = inputs["resume"].rows("features/counting") if "resume" in inputs else 0
        notes: list[str] = []
        stream = FeatureStream("counting", self._batches(start, notes), d=1, n=self.n)
        total = Derived(lambda done: {"sum": [float(done["features/counting"].X.sum())]})
        return {"features/counting": stream, "tables/sum": total, "notes": notes}

    def _batches(self, start: int, notes: list[str]) -> Any:
        notes.append(f"from {start}")
        for i in range(start, self.n, 4):
            if self.marker and i == 8 and not Path(self.marker).exists():
                Path(self.marker).touch()
                raise KeyboardInterrupt
            rows = np.arange(i, min(i + 4, self.n))
            yield rows[:, None].astype(np.float32), np.stack([rows, rows], axis=1)


@dataclass(frozen=True)
class Ending:
    """Makes a page of the run that counts the slides."""

    name: ClassVar[str] = "ending"
    version: ClassVar[int] = 1
    broken: bool = False

    def reads(self) -> tuple[str, ...]:
        return ("tables/doubled",)

    def writes(self) -> tuple[str, ...]:
        return ("page",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"page": f"<!doctype html><p>{inputs['tables/doubled']['value'][0]}</p>"}

    def finish(self, run: Any) -> Mapping[str, Any]:
        if self.broken:
            raise ZeroDivisionError("no page")
        return {"report": f"<!doctype html><p>{len(run.slides())} slides</p>"}


@dataclass(frozen=True)
class Liar:
    """Says that it writes one thing and gives another."""

    name: ClassVar[str] = "liar"
    version: ClassVar[int] = 1

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> tuple[str, ...]:
        return ("tables/truth",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"tables/lie": {"value": [1]}}


@dataclass(frozen=True)
class Lingering:
    """Takes its time, and notes which process did the work."""

    name: ClassVar[str] = "lingering"
    version: ClassVar[int] = 1
    diary: str = ""
    seconds: float = 0.4

    def reads(self) -> tuple[str, ...]:
        return ("tables/brightness",)

    def writes(self) -> tuple[str, ...]:
        return ("tables/lingering",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        with Path(self.diary).open("a") as file:
            file.write(f"{slide.id} {os.getpid()}\n")
        time.sleep(self.seconds)
        return {"tables/lingering": {"value": inputs["tables/brightness"]["value"]}}


class Quiet(Listener):
    """Says nothing."""
