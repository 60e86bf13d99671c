"""Temperature scaling finds the temperature that was put in, and changes no decision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core.errors import UsageError
from coverslip.evaluate import Temperature, classification


def drawn(seed: int, rows: int, k: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from probabilities, and those probabilities made too sure."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(rows, k))
    honest = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    truth = np.array([random.choice(k, p=row) for row in honest])
    sure = np.exp(scores * temperature)
    return truth, sure / sure.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature: float) -> None:
    truth, sure = drawn(0, 4000, 3, temperature)
    found = Temperature.fit(truth, sure)
    assert found.value == pytest.approx(temperature, rel=0.1)


def test_probabilities_become_honest() -> None:
    truth, sure = drawn(1, 2000, 3, 4.0)
    fresh, fresh_sure = drawn(2, 2000, 3, 4.0)
    before = classification(fresh, fresh_sure, "abc", n_boot=0)
    after = classification(fresh, Temperature.fit(truth, sure).apply(fresh_sure), "abc", n_boot=0)
    assert after["ece"].value < 0.3 * before["ece"].value
    assert after["log_loss"].value < before["log_loss"].value
    assert after["accuracy"] == before["accuracy"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.integers(2, 5))
def test_the_likeliest_class_stays_the_likeliest(seed: int, value: float, k: int) -> None:
    chances = np.random.default_rng(seed).dirichlet(np.ones(k), 30)
    scaled = Temperature(value).apply(chances)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    np.testing.assert_array_equal(scaled.argmax(axis=1), chances.argmax(axis=1))
    if k == 2:
        np.testing.assert_allclose(Temperature(value).apply(chances[:, 1]), scaled[:, 1])


def test_temperature_one_changes_nothing() -> None:
    chances = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    np.testing.assert_allclose(Temperature(1.0).apply(chances), chances, atol=1e-6)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(UsageError, match="no temperature can be fitted"):
        Temperature.fit([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8])
    with pytest.raises(UsageError, match="nothing can be told apart"):
        Temperature.fit([1, 1], [0.5, 0.6])
