"""Splits: nobody on two sides, everybody tested once, balance, and what is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coverslip.cohort import Cohort, Splits, SplitSpec, Target, holdout, split, split_as
from coverslip.cohort import given as given_split
from coverslip.cohort.balance import balance, cost_of, weighed
from coverslip.core.errors import ExistsError, StoreError, UsageError

PROPERTY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def values_in(cohort: Cohort, column: str, rows: np.ndarray) -> set[str]:
    return set(cohort.column(column)[rows].tolist())


def assert_sound(cohort: Cohort, splits: Splits, repeats: int = 1) -> None:
    tested = np.concatenate([fold.test for fold in splits.folds])
    assert sorted(tested.tolist()) == sorted(list(range(len(cohort))) * repeats)
    for fold in splits.folds:
        together = np.concatenate([fold.train, fold.val, fold.test])
        assert sorted(together.tolist()) == list(range(len(cohort)))
        sets = [values_in(cohort, "patient", rows) for _, rows in fold.parts()]
        assert not any(a & b for a, b in itertools.combinations(sets, 2))
        assert len(fold.train)


@PROPERTY
@given(st.integers(40, 90), st.integers(2, 6), st.sampled_from([0.0, 0.2, 0.4]), st.integers(0, 2**31))
def test_every_row_is_tested_once_and_no_patient_is_cut(make_cohort, patients, folds, val, seed) -> None:
    cohort = make_cohort(patients, seed=seed)
    splits = split(cohort, folds=folds, val=val, seed=seed)
    assert_sound(cohort, splits)
    held = [len(fold.val) / (len(fold.val) + len(fold.train)) for fold in splits.folds]
    assert np.allclose(held, val, atol=3 / (len(cohort) * (1 - 1 / folds)) + 0.02)
    # each fold's share of each class is right but for about one patient
    for counts in splits.shares(cohort, "label"):
        for name, total in zip(*np.unique(cohort.column("label"), return_counts=True), strict=True):
            assert abs(counts["test"][str(name)] - total / folds) <= 3


@PROPERTY
@given(st.integers(5, 12), st.integers(2, 4), st.integers(0, 2**31))
def test_each_site_is_tested_in_one_fold(make_cohort, sites, folds, seed) -> None:
    cohort = make_cohort(80, sites=sites, seed=seed)
    splits = split(cohort, folds=folds, group="site", seed=seed)
    assert_sound(cohort, splits)
    for one, other in itertools.combinations(splits.folds, 2):
        assert not values_in(cohort, "site", one.test) & values_in(cohort, "site", other.test)
    assert splits.quality["bound"] <= splits.quality["cost"] + 1e-9
    assert splits.method == "by patient, stratified by label, site-preserved"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(4, 7), st.integers(2, 3), st.integers(1, 3))
def test_the_integer_program_is_as_good_as_trying_everything(seed, units, parts, classes) -> None:
    counts = np.random.default_rng(seed).integers(0, 12, (units, classes)) + np.eye(units, classes, dtype=int)
    shares = np.full(parts, 1 / parts)
    weights = weighed(counts)
    everything = (
        np.array(part) for part in itertools.product(range(parts), repeat=units) if len(set(part)) == parts
    )
    best = min(cost_of(weights, part, shares) for part in everything)
    found = balance(counts, shares, seed=seed, exact=True)
    quick = balance(counts, shares, seed=seed)
    assert found.cost <= best * 1.002 + 1e-9
    assert found.bound <= best + 1e-9
    assert found.cost == pytest.approx(cost_of(weights, found.part, shares))
    assert quick.cost <= max(2 * best, best + 0.5)
    assert set(found.part) == set(quick.part) == set(range(parts))


def test_equal_patients_are_shared_out_exactly() -> None:
    names = [f"s{number}" for number in range(103)]
    labels = ["x"] * 40 + ["y"] * 63
    cohort = Cohort.read({"slide": names, "path": names, "label": labels}, files=False)
    for counts in split(cohort, folds=5).shares(cohort, "label"):
        assert counts["test"]["x"] == 8
        assert counts["test"]["y"] in {12, 13}


def test_no_worse_than_scikit_learn(make_cohort) -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    cohort = make_cohort(90, shares=(0.6, 0.3, 0.1), seed=3)
    codes = cohort.labels("label").codes
    patients = np.unique(cohort.column("patient"), return_inverse=True)[1]
    counts = np.zeros((patients.max() + 1, 3), int)
    np.add.at(counts, (patients, codes), 1)
    theirs = np.zeros(len(counts), int)
    for number, (_, test) in enumerate(StratifiedGroupKFold(5).split(codes, codes, patients)):
        theirs[patients[test]] = number
    shares = np.full(5, 0.2)
    assert balance(counts, shares, seed=0).cost <= cost_of(weighed(counts), theirs, shares)


def test_same_seed_same_split_other_seed_another(make_cohort) -> None:
    cohort = make_cohort()
    assert_same(split(cohort, seed=1), split(cohort, seed=1))
    with pytest.raises(AssertionError):
        assert_same(split(cohort, seed=1), split(cohort, seed=2))


def assert_same(one: Splits, other: Splits) -> None:
    for a, b in zip(one.folds, other.folds, strict=True):
        for (_, x), (_, y) in zip(a.parts(), b.parts(), strict=True):
            np.testing.assert_array_equal(x, y)
        for x, y in zip(a.inner, b.inner, strict=True):
            np.testing.assert_array_equal(x.test, y.test)


def test_nested_and_repeated(make_cohort) -> None:
    cohort = make_cohort(80)
    splits = split_as(cohort, SplitSpec(folds=4, inner=3, repeats=2))
    assert len(splits) == 8
    assert_sound(cohort, splits, repeats=2)
    for fold in splits.folds:
        outside = np.union1d(fold.train, fold.val)
        np.testing.assert_array_equal(np.sort(np.concatenate([i.test for i in fold.inner])), outside)
        for inner in fold.inner:
            sets = [values_in(cohort, "patient", rows) for _, rows in inner.parts()]
            assert not any(a & b for a, b in itertools.combinations(sets, 2))
            assert not set(inner.train) & set(fold.test)
    first, second = splits.folds[0], splits.folds[4]
    assert (first.repeat, second.repeat) == (0, 1)
    assert first.test.tolist() != second.test.tolist()


def test_holdout(make_cohort) -> None:
    cohort = make_cohort(80)
    (fold,) = holdout(cohort, test=0.25, val=0.2, seed=4).folds
    assert len(fold.test) / len(cohort) == pytest.approx(0.25, abs=0.02)
    sets = [values_in(cohort, "patient", rows) for _, rows in fold.parts()]
    assert not any(a & b for a, b in itertools.combinations(sets, 2))
    sited = holdout(cohort, test=0.3, group="site").folds[0]
    assert not values_in(cohort, "site", sited.test) & values_in(cohort, "site", sited.train)


def test_numbers_are_stratified_by_quartile(make_cohort) -> None:
    cohort = make_cohort(80)
    ages = cohort.column("age").astype(float)
    splits = split(cohort, folds=4, stratify=Target("age", "regression"))
    means = [ages[fold.test].mean() for fold in splits.folds]
    assert np.ptp(means) < 0.15 * np.ptp(ages)


def test_patients_seen_at_two_sites_tie_the_sites() -> None:
    table = {
        "slide": [f"s{i}" for i in range(12)],
        "path": [f"{i}" for i in range(12)],
        "patient": ["p", *(f"q{i}" for i in range(10)), "p"],
        "case": [f"c{i}" for i in range(12)],
        "site": ["A"] * 3 + ["B"] * 3 + ["C"] * 3 + ["D"] * 3,
    }
    cohort = Cohort.read(table, files=False)
    splits = split(cohort, folds=3, stratify=None, group="site", val=0)
    assert {"A", "D"} in [values_in(cohort, "site", fold.test) for fold in splits.folds]
    with pytest.raises(UsageError, match="3 values of site"):
        split(cohort, folds=4, stratify=None, group="site")


# ------------------------------------------------------------------ refused
def test_what_cannot_be_split_is_refused(make_cohort) -> None:
    cohort = make_cohort(30, sites=3)
    rare = cohort.take(
        np.r_[
            np.flatnonzero(cohort.column("label") == "a"), np.flatnonzero(cohort.column("label") == "b")[:2]
        ]
    )
    with pytest.raises(
        UsageError, match=r"class 'b' has \d patients, and 5 folds and a validation part need 5"
    ):
        split(rare)
    with pytest.raises(UsageError, match="one class only"):
        split(cohort.take(cohort.column("label") == "a"))
    with pytest.raises(UsageError, match="3 values of site share no patient, and 5 folds"):
        split(cohort, group="site")
    with pytest.raises(UsageError, match="cut through a patient"):
        split(cohort, by="slide")
    with pytest.raises(UsageError, match="folds 1: "):
        split(cohort, folds=1)
    with pytest.raises(UsageError, match="is no share"):
        holdout(cohort, test=1.5)


def test_a_class_of_one_site_is_refused() -> None:
    names = [f"s{i}" for i in range(30)]
    table = {"slide": names, "path": names, "site": ["A", "B", "C"] * 10, "label": ["x", "y", "y"] * 10}
    with pytest.raises(UsageError, match="'x' stands in one site only"):
        split(Cohort.read(table, files=False), folds=3, group="site")


def test_what_is_needed_suffices() -> None:
    """One patient of a class fewer is refused; with just enough, no part lacks the class."""
    for spec in (
        SplitSpec(folds=3),
        SplitSpec(folds=3, val=0),
        SplitSpec(folds=2, inner=3),
        SplitSpec(folds=4, inner=4),
    ):
        for count in (spec.needed, spec.needed - 1):
            names = [f"s{i}" for i in range(40 + count)]
            table = {"slide": names, "path": names, "label": ["x"] * 40 + ["y"] * count}
            cohort = Cohort.read(table, files=False)
            if count < spec.needed:
                with pytest.raises(UsageError, match=f"need {spec.needed}"):
                    split_as(cohort, spec)
                continue
            folds = split_as(cohort, spec).folds
            for fold in (*folds, *(inner for each in folds for inner in each.inner)):
                assert "y" in values_in(cohort, "label", fold.test)
                assert "y" in values_in(cohort, "label", fold.train)


# ------------------------------------------------------------------ the file
def test_splits_are_kept_for_their_cohort_only(make_cohort, tmp_path: Path) -> None:
    cohort = make_cohort()
    splits = split_as(cohort, SplitSpec(folds=3, inner=2, stratify=Target("label", "binary")))
    path = tmp_path / "splits.json"
    splits.save(path)
    splits.save(path)
    loaded = Splits.load(path, cohort)
    assert_same(splits, loaded)
    assert loaded.spec["stratify"]["kind"] == "binary"
    assert json.loads(path.read_text())["rows"] == cohort.ids.tolist()
    with pytest.raises(ExistsError):
        split(cohort, seed=9).save(path)
    with pytest.raises(StoreError, match="another cohort"):
        Splits.load(path, cohort.take(slice(1, None)))
    with pytest.raises(UsageError, match="another cohort"):
        splits.shares(make_cohort(50), "label")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"type": "x"}', '{"type": "coverslip splits", "version": 9}']
)
def test_damaged_files_are_refused(make_cohort, tmp_path: Path, text: str) -> None:
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(StoreError):
        Splits.load(tmp_path / "splits.json", make_cohort(10))
    with pytest.raises(StoreError, match="no file"):
        Splits.load(tmp_path / "gone.json", make_cohort(10))


def test_the_split_of_the_table_is_taken(make_cohort) -> None:
    names = [f"s{i}" for i in range(6)]
    table = {"slide": names, "path": names, "split": ["train", "Train", "val", "test", "", "test"]}
    (fold,) = given_split(Cohort.read(table, files=False)).folds
    assert [rows.tolist() for _, rows in fold.parts()] == [[0, 1], [2], [3, 5]]
    with pytest.raises(UsageError, match="names no row train"):
        given_split(Cohort.read(table | {"split": ["test"] * 6}, files=False))
