"""Charts show every number once, inside their frame, and words say the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coverslip.report.charts import FOOT, HEIGHT, SIDE, WIDTH, Axis, Scale, histogram, swarm
from coverslip.report.numbers import NARROW, NONE, nice_step, number, percent

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=200)


@given(NUMBERS)
def test_histogram_counts_every_value_once(values: list[float]) -> None:
    chart = histogram(values, Axis("x"))
    drawn = sum(int(bar.title.rpartition(": ")[2]) for bar in chart.bars)
    assert drawn + chart.beyond == len(values)
    assert chart.count == len(values)
    assert all(SIDE <= bar.x <= bar.x + bar.width <= WIDTH - SIDE + 0.61 for bar in chart.bars)
    assert all(bar.y > 0 and bar.y + bar.height == pytest.approx(HEIGHT - FOOT) for bar in chart.bars)


@given(NUMBERS)
def test_swarm_draws_every_slide_and_keeps_their_order(values: list[float]) -> None:
    chart = swarm([(str(i), value, None) for i, value in enumerate(values)], Axis("x"))
    assert len(chart.dots) == len(values)
    places = {dot.title.partition(":")[0]: dot.x for dot in chart.dots}
    order = np.argsort(values, kind="stable")
    assert all(places[str(a)] <= places[str(b)] for a, b in pairwise(order))


def test_a_thousand_slides_stay_inside_the_chart() -> None:
    points = [
        (str(i), float(value), None) for i, value in enumerate(np.random.default_rng(0).normal(size=1000))
    ]
    chart = swarm(points, Axis("x"))
    assert min(dot.y for dot in chart.dots) > 0


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5))
def test_scale_goes_from_margin_to_margin_and_ticks_lie_on_it(low: float, span: float) -> None:
    scale = Scale(low, low + span)
    assert scale.at(low) == SIDE
    assert scale.at(low + span) == WIDTH - SIDE
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 9
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


def test_far_outliers_do_not_hide_the_shape() -> None:
    values = np.r_[np.random.default_rng(0).normal(10, 1, 999), 1e6]
    chart = histogram(values, Axis("x"))
    assert chart.beyond >= 1
    assert len(chart.bars) > 10


def test_what_is_not_there_is_said() -> None:
    chart = histogram([np.nan, np.inf], Axis("focus"))
    assert (chart.bars, chart.missing, chart.words) == ((), 2, "focus: no values.")
    assert swarm([("a", None, None)], Axis("x")).missing == 1


@given(st.floats(-1e9, 1e9, allow_nan=False).filter(lambda v: abs(v) > 1e-6))
def test_numbers_keep_three_digits(value: float) -> None:
    text = number(value).replace(NARROW, "").replace("\N{MINUS SIGN}", "-")
    assert float(text) == pytest.approx(value, rel=6e-3)


@given(st.floats(1e-9, 1e9))
def test_steps_are_one_two_or_five(span: float) -> None:
    lead = float(f"{nice_step(span):e}".partition("e")[0])
    assert lead in {1, 2, 5}


def test_nothing_known_is_a_dash() -> None:
    assert number(None) == percent(None) == percent(float("nan")) == NONE
