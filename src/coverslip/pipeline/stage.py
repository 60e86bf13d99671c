"""What a stage promises: a frozen dataclass of its parameters, and a function from inputs to outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from coverslip.core import unknown
from coverslip.core.errors import RecipeError
from coverslip.slides.slide import Slide
from coverslip.store import RunFolder

ROOT = ("slide", "thumbnail")
"""What the runner itself writes of every slide it opens; any stage may read them."""

NOTES = "notes"
"""Key under which a stage may give sentences for the log along with its results."""

GIVEN = "given"
"""Key under which a step says how many tiles and objects reached its stage, and how many there were."""

RESUME = "resume"
"""Key of the input that says how many rows of a streamed result are there already."""

LIMITED = "limited"
"""Key of the input that says in words by what a step is limited; there only for steps that are."""


@runtime_checkable
class Stage(Protocol):
    """One step of a recipe, on one slide.

    A stage is a frozen dataclass whose fields are its parameters: plain values (numbers, text, booleans,
    None, tuples of them), all with defaults; none is called ``name``, ``stage``, ``within``, ``where`` or
    ``using``, which are words of recipes. A third party's stage registers under the entry-point group
    ``coverslip.stages`` and is checked by `coverslip.testing.check_stage`.

    Notes
    -----
    Only the runner touches the disk. ``inputs`` holds what `reads` names, by artefact key, and
    ``inputs["resume"]``, a `coverslip.store.Resume`, when an earlier run left some of a streamed result.
    What comes out is what `writes` names; a value may be

    * of the type that `coverslip.store.RunFolder.get` returns for its key,
    * a `coverslip.store.FeatureStream` or `coverslip.store.ObjectStream`, written as it comes,
    * a `coverslip.store.Derived`, made once the streams are complete.

    Under ``"notes"`` may come a sequence of sentences for the log; it is read when all streams have ended.

    A recipe may limit a stage to what earlier ones found (`coverslip.pipeline.Step`). The stage need not
    know: the tiles, objects, features and tissue among its inputs are those that passed, and there may be
    none. No tiles are a result, not an error. ``inputs["limited"]`` says in words by what it is limited.
    """

    @property
    def name(self) -> str:
        """As written in recipes and in every result's provenance; a ``ClassVar[str]`` of the class."""
        ...

    @property
    def version(self) -> int:
        """Raised when the same parameters give another result; a ``ClassVar[int]`` of the class."""
        ...

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


@runtime_checkable
class Naming(Protocol):
    """A stage that knows before it runs which classes it can find, so that a recipe's mistakes show early."""

    def classes(self) -> tuple[str, ...]:
        """Return the classes that ``within`` and ``where`` may name; nothing when they are not known yet."""
        ...


@runtime_checkable
class Casewise(Protocol):
    """A stage of cases: what several slides of one case say together.

    Its `Stage.writes` is empty and its `Stage.run` is never called. Once all slides are through, `case` is
    called for each case; its rows become ``predictions/<name>`` of the run, a row per case.
    """

    def case(self, slides: Mapping[str, Mapping[str, Any]]) -> Mapping[str, float | int | str]:
        """Return the columns of a case's row.

        Parameters
        ----------
        slides
            By slide id what `Stage.reads` names, by artefact key; only slides that have all of it. At least
            one.
        """
        ...


@runtime_checkable
class Following(Protocol):
    """A stage that depends on which stages stand before it in the recipe, as a report does."""

    def after(self, stages: Sequence[Stage]) -> Stage:
        """Return this stage, set up for the stages before it; the same when called again."""
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
