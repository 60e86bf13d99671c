"""Where and how a recipe runs; never what it computes."""

from __future__ import annotations

from dataclasses import dataclass

from coverslip.core.errors import UsageError

WORKERS = 2
"""Processes when nothing is said; a constant, so that the same command does the same everywhere."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Where a recipe runs.

    Parameters
    ----------
    workers
        Processes on this machine, a slide each; 0 runs slide after slide in this process.
    cluster
        Address of a Dask scheduler, which then does all the work; `workers` is not used.

    Raises
    ------
    UsageError
        When `workers` is negative.
    """

    workers: int = WORKERS
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise UsageError(
                f"{self.workers} workers cannot be", mend="give 1 or more, or 0 for this process alone"
            )
