"""What a stage promises: a frozen dataclass of its parameters, and a function from inputs to outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from coverslip.core import unknown
from coverslip.core.errors import RecipeError
from coverslip.slides.slide import Slide
from coverslip.store import RunFolder

ROOT = ("slide", "thumbnail")
"""What the runner itself writes of every slide it opens; any stage may read them."""

NOTES = "notes"
"""Key under which a stage may give sentences for the log along with its results."""


@runtime_checkable
class Stage(Protocol):
    """One step of a recipe, on one slide.

    A stage is a frozen dataclass whose fields are its parameters: plain values (numbers, text, booleans,
    None, tuples of them), all with defaults. A third party's stage registers under the entry-point group
    ``coverslip.stages`` and is checked by `coverslip.testing.check_stage`.

    Attributes
    ----------
    name
        As written in recipes and in every result's provenance.
    version
        Raised when the same parameters give another result, so that old results count as stale.

    Notes
    -----
    Only the runner touches the disk. ``inputs`` holds what `reads` names, by artefact key, and
    ``inputs["resume"]``, a `coverslip.store.Resume`, when an earlier run left rows of a streamed result.
    What comes out is what `writes` names; a value may be

    * of the type that `coverslip.store.RunFolder.get` returns for its key,
    * a `coverslip.store.FeatureStream`, written batch by batch,
    * a `coverslip.store.Derived`, made once the streams are complete.

    Under ``"notes"`` may come a sequence of sentences for the log; it is read when all streams have ended.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the artefacts that `run` needs."""
        ...

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the artefacts that `run` makes."""
        ...

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make the artefacts; touch no disk but the slide's.

        Raises
        ------
        CoverslipError
            When it cannot be done for this slide; the run records it and goes on with the next.
        """
        ...


@runtime_checkable
class Finishing(Protocol):
    """A stage that also makes something of the run as a whole, once all slides are through."""

    def finish(self, run: RunFolder) -> Mapping[str, Any]:
        """Return artefacts of the run by key, e.g. ``{"report": html}``; the runner writes them."""
        ...


def parameters_of(stage: Stage) -> dict[str, Any]:
    """Return a stage's parameters as plain values.

    Raises
    ------
    RecipeError
        When the stage is no dataclass.
    """
    if not dataclasses.is_dataclass(stage):
        raise RecipeError(f"{type(stage).__name__} is no dataclass, so it has no parameters to record")
    return dataclasses.asdict(stage)


def chosen(inputs: Mapping[str, Any], key: str) -> Any:
    """Return the input called `key`.

    Raises
    ------
    RecipeError
        When it is not among the inputs; the nearest match is in the message.
    """
    if key in inputs:
        return inputs[key]
    raise RecipeError(
        f"a stage needs {key!r}, which is not among its inputs",
        mend=unknown("artefact", key, inputs).mend if inputs else "run the stage that writes it first",
    )
