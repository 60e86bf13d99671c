"""Cohorts made up for the tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from coverslip.cohort import Cohort


@pytest.fixture
def make_cohort() -> Callable[..., Cohort]:
    """Make a cohort of `patients` with 1 to 3 slides each, `sites` and labels in the given shares."""

    def make(
        patients: int = 60, *, sites: int = 6, shares: tuple[float, ...] = (0.6, 0.4), seed: int = 0
    ) -> Cohort:
        rng = np.random.default_rng(seed)
        classes = "abcdefgh"[: len(shares)]
        columns: dict[str, list[str]] = {
            name: [] for name in ("slide", "path", "patient", "site", "label", "age")
        }
        for patient in range(patients):
            label = str(rng.choice(list(classes), p=shares))
            for number in range(rng.integers(1, 4)):
                values = (
                    f"p{patient}-{number}",
                    f"{patient}-{number}.svs",
                    f"p{patient}",
                    f"S{patient % sites}",
                    label,
                )
                for name, value in zip(columns, (*values, str(20 + patient)), strict=True):
                    columns[name].append(value)
        return Cohort.read(columns, labels=("label", "age"), files=False)

    return make
