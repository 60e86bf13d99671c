"""Look-alike tiles: known groups come back, whatever the number of tiles, and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core.errors import UsageError
from coverslip.measure import lookalike


def groups(seed: int, sizes: tuple[int, ...] = (60, 40, 20), wide: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    middles = rng.normal(0, 12, (len(sizes), wide))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return middles[truth] + rng.normal(0, 1, (len(truth), wide)), truth


@pytest.mark.parametrize("seed", range(5))
def test_known_groups_come_back_largest_first(seed: int) -> None:
    from sklearn.metrics import adjusted_rand_score

    features, truth = groups(seed)
    found = lookalike(features, clusters=3)
    assert adjusted_rand_score(truth, found.labels) > 0.98
    assert found.sizes.tolist() == [60, 40, 20]
    assert found.names == ("A", "B", "C")
    for group, examples in enumerate(found.examples):
        assert len(examples) == 5
        assert np.all(found.labels[list(examples)] == group)
        assert np.allclose(found.centres[group], features[found.labels == group].mean(axis=0), atol=1e-4)


def test_units_and_outliers_do_not_matter() -> None:
    features, _ = groups(1)
    scaled = features * 10.0 ** np.arange(-6, 6)
    scaled[5, 3] *= 1e4
    assert (lookalike(scaled, clusters=3).labels != lookalike(features, clusters=3).labels).mean() < 0.03


def test_order_by_a_measurement() -> None:
    features, truth = groups(2)
    found = lookalike(features, clusters=3, order_by=truth)
    assert np.array_equal(found.labels, 2 - truth)


def test_the_same_tiles_give_the_same_map() -> None:
    features, _ = groups(3, (500, 300, 200), 40)
    first, second = lookalike(features), lookalike(features.copy())
    assert np.array_equal(first.labels, second.labels)
    assert first.examples == second.examples


def test_traits_name_what_is_special() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (100, 4))
    features[:20, 2] += 30
    found = lookalike(features, clusters=2, names=["a", "b", "density", "d"])
    assert found.traits[1][0][0] == "density"
    assert found.traits[1][0][1] > 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(1, 6), st.integers(1, 10), st.booleans())
def test_few_tiles(n: int, wide: int, clusters: int, same: bool) -> None:
    features = np.random.default_rng(n).normal(0, 1, (n, wide)).astype(np.float32)
    if same:
        features[:] = 1
    found = lookalike(features, clusters=clusters)
    assert found.labels.shape == (n,)
    assert found.labels.dtype == np.int16
    expected = 0 if n == 0 else 1 if same else min(n, clusters)
    assert len(found.names) == len(found.examples) == len(found.traits) == len(found.centres) <= expected
    assert (found.sizes > 0).all()
    assert found.sizes.sum() == n


def test_many_tiles() -> None:
    features, truth = groups(4, (50_000, 20_000, 10_000), 20)
    found = lookalike(features.astype(np.float16), clusters=3)
    assert np.array_equal(found.labels, truth)


@pytest.mark.parametrize(
    "arguments",
    [
        {"features": np.zeros(5)},
        {"features": np.full((5, 2), np.nan)},
        {"features": np.zeros((5, 2)), "clusters": 0},
        {"features": np.zeros((5, 2)), "clusters": 27},
        {"features": np.zeros((5, 2)), "names": ["a"]},
        {"features": np.zeros((5, 2)), "order_by": np.zeros(4)},
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict) -> None:
    features = arguments.pop("features")
    with pytest.raises(UsageError):
        lookalike(features, **arguments)
