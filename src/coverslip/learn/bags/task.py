"""The task ``classify``, method ``bags``: multiple-instance learning on features of slides or cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from coverslip.cohort import Target
from coverslip.core.errors import UsageError
from coverslip.learn.bags.targets import BagTarget, target_of
from coverslip.learn.classify.specs import SplitBy
from coverslip.learn.fit import FitSpec
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, silent
from coverslip.models.aggregators import aggregator_card, checked_parameters

if TYPE_CHECKING:
    from coverslip.learn.bags.training import Reading

FIT = FitSpec(epochs=40, batch_size=1, accumulate=8, lr=2e-4, weight_decay=1e-2, precision="f32", patience=10)


@dataclass(frozen=True, kw_only=True)
class BagsTask:
    """Learn from the features of all tiles of a slide, or of all slides of a case, and one label for them.

    Parameters
    ----------
    cohort
        Table of slides; see `coverslip.cohort.Cohort.read`.
    targets
        What is predicted: a column, or a mapping ``{column, kind, classes, weight}``, or a list of these for
        several at once (one aggregator, a head for each).
    features
        A run folder that ``coverslip run embed`` filled, or a folder with ``<slide>.h5`` (as CLAM and TRIDENT
        write them) or ``<slide>.npz`` (``features`` or ``X``, and ``coords``).
    encoder
        Which features of a run folder; and what foreign files, which do not say, are features of.
    bag
        ``slide``, or ``case``: all slides of a case in one bag.
    aggregator
        A name of `coverslip.models.aggregators.AGGREGATORS`.
    parameters
        Of the aggregator.
    sample
        Tiles of a bag seen per step, drawn anew each epoch; nothing for all. Judging always sees all.
    balance
        Weigh rare classes more in the loss.
    standardise
        Shift and scale features by mean and spread of the training tiles; kept in the model.
    fit, split
        See `FitSpec`, `SplitBy`.
    final
        The model that is kept: ``refit``, learned anew from all rows with as many epochs as the folds kept,
        or ``first``, that of the first fold.
    name
        Of the model; by default that of its target, or of all joined with ``+``.
    stain, licence
        For the model's card.
    """

    key: ClassVar[str] = "classify/bags"

    cohort: Path
    targets: Any
    features: Path
    encoder: str | None = None
    bag: Literal["slide", "case"] = "slide"
    aggregator: str = "abmil"
    parameters: dict[str, Any] = field(default_factory=dict)
    sample: int | None = 4096
    balance: bool = True
    standardise: bool = True
    fit: FitSpec = FIT
    split: SplitBy = field(default_factory=SplitBy)
    final: Literal["refit", "first"] = "refit"
    name: str | None = None
    stain: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        checked_parameters(self.aggregator, self.parameters)
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"sample {self.sample} cannot be: expected 1 or more tiles, or nothing")
        columns = [target.column for target in self.wanted]
        if not columns or len(set(columns)) < len(columns):
            raise UsageError(f"targets {columns} cannot be: expected one or more different columns")
        first = self.wanted[0]
        if aggregator_card(self.aggregator).one_target and (
            len(columns) > 1 or first.kind not in {"binary", "multiclass"}
        ):
            raise UsageError(
                f"aggregator {self.aggregator!r} learns from one binary or multiclass target, not from "
                f"{', '.join(f'{target.column} ({target.kind})' for target in self.wanted)}",
                mend="choose another aggregator, e.g. abmil, or one target of classes",
            )

    @cached_property
    def wanted(self) -> tuple[BagTarget, ...]:
        """The targets."""
        given = self.targets
        several = given if isinstance(given, tuple | list) else (given,)
        return tuple(target_of(each) for each in several)

    @property
    def stratify(self) -> Target | None:
        """What folds are balanced by: the first target; None when it is a multilabel one."""
        first = self.wanted[0]
        return None if first.kind == "multilabel" else first.plain

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return self.name or "+".join(target.column for target in self.wanted)

    @property
    def chosen(self) -> Mapping[str, Any]:
        """All parameters of the aggregator."""
        return checked_parameters(self.aggregator, self.parameters)

    # ------------------------------------------------------------------ the task
    def plan(self) -> Plan:
        """See `coverslip.learn.Task.plan`; looks at all features."""
        return self._read().plan(whole=True)

    def train(self, run: Path, *, listen: Listen = silent) -> Trained:
        """See `coverslip.learn.Task.train`; looks at some features, and at each as it is read."""
        read = self._read()
        read.plan(whole=False)
        return read.train(run, listen=listen)

    def _read(self) -> Reading:
        from coverslip.learn.bags.training import Reading

        return Reading.of(self)
