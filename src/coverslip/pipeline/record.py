"""What a run remembers of its stages, and the fingerprints that follow from it; no stage need be imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from coverslip.pipeline.selection import steps_of
from coverslip.pipeline.stage import ROOT, Following, Stage
from coverslip.pipeline.step import Step, said_of
from coverslip.store import Provenance, SlideRoot

OPEN = "open"
"""Name under which the runner itself stands in provenance and log: opening the slide."""

OPEN_VERSION = 1
THUMBNAIL_PX = 1024
"""Longer side of ``thumbnail.jpg``."""


@dataclass(frozen=True)
class StageRecord:
    """A stage as ``run.json`` keeps it.

    Attributes
    ----------
    parameters
        Those of the stage; of a step also its words: stage, within, where, using.
    above
        The step that limits it or gives it what it works on, the deepest where several do; it makes the
        stages a tree. Tissue, stains and the first grid of tiles, which all share, do not count.
    """

    name: str
    version: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    above: str | None = None

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """Take down a stage."""
        return cls(stage.name, stage.version, said_of(stage), stage.reads(), stage.writes())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        keys = {name: tuple(values[name]) for name in ("reads", "writes")}
        parameters, above = dict(values["parameters"]), values.get("above")
        return cls(values["name"], values["version"], parameters, **keys, above=above)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


OPENING = StageRecord(OPEN, OPEN_VERSION, {"thumbnail_px": THUMBNAIL_PX}, writes=ROOT)
"""The step before the first stage: the slide is opened, its facts and thumbnail are written."""


def provenances(records: Sequence[StageRecord], root: SlideRoot) -> dict[str, Provenance]:
    """Return the provenance that each stage's results must have, by stage name.

    It follows from the recipe and the slide alone, so it is known before anything is computed.

    Parameters
    ----------
    records
        In the order of the recipe, without `OPENING`, which stands first in the result.
    """
    marks: dict[str, str] = {}
    found: dict[str, Provenance] = {}
    for record in (OPENING, *records):
        inputs = {key: marks[key] for key in record.reads}
        made = Provenance.make(
            record.name, record.version, parameters=record.parameters, inputs=inputs, slide=root
        )
        found[record.name] = made
        marks |= dict.fromkeys(record.writes, made.fingerprint)
    return found


def records_of(stages: Iterable[Stage]) -> tuple[StageRecord, ...]:
    """Take down all stages."""
    writers: dict[str, str] = {}
    depths: dict[str | None, int] = {None: 0}
    found = []
    for stage in stages:
        above = max(_named(stage, writers), key=lambda name: depths.get(name, 0), default=None)
        depths[stage.name] = depths.get(above, 0) + 1
        found.append(replace(StageRecord.of(stage), above=above))
        if not isinstance(stage, Following):  # a report stands below nothing, and nothing below it
            writers |= {key: stage.name for key in stage.writes() if "/" in key}
    return tuple(found)


def _named(stage: Stage, writers: Mapping[str, str]) -> list[str]:
    """Return the steps that limit a stage, or found what it works on."""
    if isinstance(stage, Following):
        return []
    limits = steps_of(stage.limits) if isinstance(stage, Step) else ()
    return [*limits, *(writers[key] for key in stage.reads() if key in writers)]
