"""What a task of classification is made of: the keys of TASK.yaml that its methods share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from coverslip.cohort import Rows, Splits, SplitSpec, Target, given, holdout, split_as
from coverslip.core.errors import UsageError
from coverslip.models.classifiers import MEMBERS, SMALL, TEXTURE, Transfer

HELD = 0.2
"""Share of the rows that do not test, held back to choose the epoch."""


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Which network learns, and how much of it.

    Parameters
    ----------
    name
        ``small-cnn``, or any name of timm: ``resnet18``, ``vgg16``, ``efficientnet_b0``, ….
    parameters
        Arguments of the network.
    transfer
        ``scratch`` begins with random weights. The others begin with trained ones: ``frozen`` learns the head
        alone, ``blocks`` the head and the last `blocks`, ``full`` everything.
    weights
        Trained weights to begin with: a safetensors file or a model folder; by default timm's own,
        of ImageNet.
    blocks
        Groups of layers that learn with ``blocks``.
    layer_decay
        Each group of layers learns this many times as fast as the one after it (discriminative rates).
    texture
        Whether a logistic regression on colour and texture judges beside the network
        (`coverslip.models.texture`). By default beside ``small-cnn`` that learns from a tile set.
    """

    name: str = SMALL
    parameters: dict[str, Any] = field(default_factory=dict)
    transfer: Transfer = "scratch"
    weights: Path | None = None
    blocks: int = 2
    layer_decay: float = 1.0
    texture: bool | None = None

    def __post_init__(self) -> None:
        if self.transfer == "scratch" and self.weights is not None:
            raise UsageError("weights are given, and transfer is scratch", mend="say transfer: full")
        if self.transfer != "scratch" and self.weights is None and self.name == SMALL:
            raise UsageError(
                f"{SMALL} has no published weights", mend="give weights: FILE, or transfer: scratch"
            )
        if MEMBERS in self.parameters:
            raise UsageError("networks learn one by one", mend="leave members out; say final: committee")
        if TEXTURE in self.parameters:
            raise UsageError("texture is no argument of a network", mend="write texture: beside its name")
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"layer_decay {self.layer_decay} cannot be: expected above 0, up to 1")


@dataclass(frozen=True, kw_only=True)
class SplitBy:
    """Who trains, who chooses, who tests.

    Parameters
    ----------
    how
        ``folds`` for cross-validation, ``holdout`` for one test part, ``table`` for the column ``split``.
    folds
        Of cross-validation; each row is tested once.
    test
        Share of the test part of ``holdout``.
    val
        Share of the rest that is held back to stop and to choose; no test row is ever looked at for that. By
        default 0.2; 0 of a tile set that trains all its epochs (no `FitSpec.patience`), where nothing is
        chosen.
    group
        Column whose values are never cut, e.g. ``site``.
    repeats
        How often cross-validation is done again with other folds.
    seed
        Of the split.
    look
        Whether pictures are compared, to find copies of the same one in two parts.
    tolerated
        Share of test rows that may have a copy in training; by default 0 of slides, 0.02 of tiles.
    """

    how: Literal["folds", "holdout", "table"] = "folds"
    folds: int = 5
    test: float = 0.2
    val: float | None = None
    group: str | None = None
    repeats: int = 1
    seed: int = 0
    look: bool = True
    tolerated: float | None = None

    def of(self, cohort: Rows, target: Target) -> Splits:
        """Split a cohort.

        Raises
        ------
        UsageError, UnknownNameError
            When a class has too few patients for the folds, there is one class only, …
        """
        if self.how == "table":
            return given(cohort)
        val = HELD if self.val is None else self.val
        if self.how == "holdout":
            options: dict[str, Any] = {"group": self.group, "seed": self.seed}
            return holdout(cohort, test=self.test, val=val, stratify=target, **options)
        spec = SplitSpec(
            folds=self.folds,
            stratify=target,
            group=self.group,
            val=val,
            seed=self.seed,
            repeats=self.repeats,
        )
        return split_as(cohort, spec)


def target_of(target: str | Mapping[str, Any] | Target) -> Target:
    """Return a target of classes; a bare name is a multiclass one.

    Raises
    ------
    UsageError
        When it is a regression: pictures are given classes.
    """
    found = target if isinstance(target, Target) else Target(str(target).strip().lower())
    if found.kind == "regression":
        raise UsageError(
            f"target {found.column!r} is a regression, and this method gives classes",
            mend="use method: bags, or name classes",
        )
    return found


def codes_of(cohort: Rows, target: Target) -> tuple[tuple[str, ...], Any]:
    """Return classes and a code per row, and refuse one class only.

    Raises
    ------
    UnknownNameError, UsageError
        When there is no such column, or a label is none of the classes; when all rows are of one class.
    """
    import numpy as np

    classes, codes = cohort.labels(target)
    present = np.unique(codes)
    if len(present) < 2:
        raise UsageError(
            f"{target.column} has one class only, {classes[int(present[0])]!r}",
            mend="add rows of another class",
        )
    return classes, np.asarray(codes, np.int64)
