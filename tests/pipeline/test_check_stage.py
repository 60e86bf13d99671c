"""The check for other people's stages passes ours and finds each broken promise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import acting
import numpy as np
import pytest

from coverslip.pipeline.memory import run_stage
from coverslip.pipeline.opening import thumbnail_of
from coverslip.pipeline.stages import PathomicsStage, QualityStage, StainStage, TilesStage, TissueStage
from coverslip.slides import Slide, open_slide
from coverslip.store import Table
from coverslip.testing import check_stage


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slide, dict[str, Any]]]:
    """A phantom and all that the built-in stages read."""
    from coverslip.phantom import PhantomSpec, make, write_slide

    phantom = make(PhantomSpec(width=1280, height=1024, tissue_share=0.5), 3)
    path = write_slide(phantom, tmp_path_factory.mktemp("phantom") / "phantom.svs")
    with open_slide(path) as slide:
        found: dict[str, Any] = {"slide": slide.info(), "thumbnail": thumbnail_of(slide).pixels}
        for stage in (TissueStage(), QualityStage(), TilesStage(), StainStage()):
            found |= run_stage(stage, slide, found)
        yield slide, found


@pytest.mark.parametrize("kind", [TissueStage, QualityStage, TilesStage, StainStage, PathomicsStage])
def test_built_in_stages_keep_their_promises(kind: type, served: tuple) -> None:
    check_stage(kind(), *served)


def test_a_streaming_stage_passes(slides: Callable[..., Path]) -> None:
    with open_slide(slides("a") / "a.tif") as slide:
        check_stage(acting.Counting(), slide, {})


@dataclass(frozen=True)
class Honest:
    name: ClassVar[str] = "honest"
    version: ClassVar[int] = 1
    size: int = 1

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> tuple[str, ...]:
        return ("tables/x",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002
        return {"tables/x": Table({"x": np.array([self.size])})}


@dataclass
class Thawed(Honest.__base__):  # type: ignore[name-defined,misc]
    name: ClassVar[str] = "thawed"
    version: ClassVar[int] = 1
    reads, writes, run = Honest.reads, Honest.writes, Honest.run
    size: int = 1


class Moody(Honest):
    count: ClassVar[Iterator[int]] = itertools.count()

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002
        return {"tables/x": Table({"x": np.array([next(self.count)])})}


class Chatty(Honest):
    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**super().run(slide, inputs), "tables/y": {"y": [1]}}


class Listing(Honest):
    def writes(self) -> tuple[str, ...]:
        return ["tables/x"]  # type: ignore[return-value]


class Forgetful(acting.Counting):
    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return super().run(slide, {key: value for key, value in inputs.items() if key != "resume"})


BROKEN = [
    (Thawed, "a stage is frozen"),
    (Moody, "the same inputs give the same outputs"),
    (Chatty, "run gives what writes names, and no more"),
    (Listing, "keys come as a tuple"),
    (Forgetful, "with resume after 10 rows come the others"),
]


@pytest.mark.parametrize(("kind", "promise"), BROKEN)
def test_broken_promises_are_named(slides: Callable[..., Path], kind: type, promise: str) -> None:
    with open_slide(slides("a") / "a.tif") as slide, pytest.raises(AssertionError, match=promise):
        check_stage(kind(), slide, {})


def test_an_honest_stage_passes(slides: Callable[..., Path]) -> None:
    with open_slide(slides("a") / "a.tif") as slide:
        check_stage(Honest(), slide, {})
