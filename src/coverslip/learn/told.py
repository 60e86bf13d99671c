"""What training tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Told:
    """Where training is.

    Attributes
    ----------
    what
        What is being done: ``"fold 1 of 5"``, ``"reading tiles"``, …
    done, total
        How far it is, in steps of its own (epochs, slides); `total` 0 where nobody knows.
    values
        Figures of the epoch: ``train_loss``, ``val_loss``, ``lr``, ``seconds``, …
    """

    what: str
    done: int = 0
    total: int = 0
    values: dict[str, Any] = field(default_factory=dict)


Listen = Callable[[Told], None]


def silent(_told: Told) -> None:
    """Listen and say nothing."""
