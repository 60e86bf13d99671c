"""Plain values become dataclasses; what is not said keeps its default, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from coverslip.core.errors import UsageError
from coverslip.learn.classify.tiles import FIT
from coverslip.learn.parse import plain
from coverslip.learn.task import task_of

VALUES = {"task": "classify", "method": "tiles", "cohort": "a.csv", "target": "label"}


def test_what_is_not_said_keeps_the_default_of_the_task() -> None:
    task = task_of({**VALUES, "fit": {"epochs": 3}}, folder="/data")
    assert (task.fit.epochs, task.fit.lr, task.fit.ema) == (3, FIT.lr, FIT.ema)
    assert task.cohort == Path("/data/a.csv")
    rest = plain(task)
    assert task_of({"task": "classify", "method": "tiles", **rest}) == task


def test_a_magnification_is_an_mpp() -> None:
    assert task_of({**VALUES, "mpp": "20x"}).mpp == pytest.approx(0.5)


def test_all_problems_are_listed_at_once() -> None:
    wrong = {**VALUES, "sise": 3, "fit": {"epochs": "many", "lrr": 1}, "network": {"transfer": "some"}}
    with pytest.raises(UsageError) as caught:
        task_of(wrong, where="t.yaml")
    said = str(caught.value)
    for part in (
        "4 problems",
        "did you mean 'size'",
        "did you mean 'lr'",
        "epochs is 'many'",
        "transfer is 'some'",
    ):
        assert part in said, part


@pytest.mark.parametrize("change", [{"task": "clasify"}, {"method": "tile"}])
def test_the_nearest_name_is_offered(change: dict) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        task_of(VALUES | change)
