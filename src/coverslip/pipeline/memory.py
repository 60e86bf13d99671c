"""A recipe on one slide in memory: for notebooks and trying things out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coverslip.core import unknown
from coverslip.pipeline.opening import thumbnail_of
from coverslip.pipeline.recipe import bound
from coverslip.pipeline.stage import GIVEN, NOTES, Stage
from coverslip.slides import Slide
from coverslip.store import STREAMS, Derived


@dataclass(frozen=True)
class Pipeline:
    """Stages on one slide, nothing written to the disk.

    Parameters
    ----------
    stages
        In order; each reads only what the slide or a stage before it gives.

    Raises
    ------
    RecipeError
        When a stage needs what no stage before it writes.

    Examples
    --------
    ::

        results = Pipeline([TissueStage(), TilesStage(quality=False)]).run(slide)
        results["tiles"].xy
    """

    stages: Sequence[Stage]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", bound(self.stages))

    def run(self, slide: Slide, given: Mapping[str, Any] | None = None) -> Results:
        """Run all stages and return what they made, by artefact key.

        Parameters
        ----------
        given
            Results that are there already; a stage all of whose results are given is left out.
        """
        found: dict[str, Any] = {
            "slide": slide.info(),
            "thumbnail": thumbnail_of(slide).pixels,
            **(given or {}),
        }
        for stage in self.stages:
            if all(key in (given or {}) for key in stage.writes()):
                continue  # given; or a stage of cases, of which one slide is none
            found |= run_stage(stage, slide, found)
        return Results(found)


def run_stage(stage: Stage, slide: Slide, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run one stage and gather its streams in memory."""
    outputs = dict(stage.run(slide, {key: inputs[key] for key in stage.reads()}))
    for key in (NOTES, GIVEN):
        outputs.pop(key, None)
    streamed = {key: value.collect() for key, value in outputs.items() if isinstance(value, STREAMS)}
    derived = {key: v.make(streamed) for key, v in outputs.items() if isinstance(v, Derived)}
    return outputs | streamed | derived


class Results(Mapping[str, Any]):
    """Results of a slide by artefact key; shows itself in a notebook."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = dict(found)

    def __getitem__(self, key: str) -> Any:
        if key not in self._found:
            raise unknown("result", key, self._found)
        return self._found[key]

    def __contains__(self, key: object) -> bool:
        return key in self._found

    def __iter__(self) -> Any:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def _repr_html_(self) -> str:
        from coverslip.store.show import results_html

        return results_html(self._found)

    def __repr__(self) -> str:
        return f"<Results: {', '.join(self._found)}>"
