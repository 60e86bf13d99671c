"""The committee, its kernels and distances, and the bench on sets of bags."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from coverslip.cli import main
from coverslip.core.errors import SlideNotFoundError, UsageError
from coverslip.learn.bags import bench
from coverslip.learn.bags.bench import BagData, cross_validated, row_of
from coverslip.learn.bags.committee import MEMBERS, Committee
from coverslip.learn.bags.likeness import Scaler, mean_nearest, statistics


def bags_of(seed: int, count: int, dim: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(int(rng.integers(1, 7)), dim)) for _ in range(count)]


def marked(seed: int, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Bags of which every second has one row far from all others."""
    bags, codes = [b * 0.5 for b in bags_of(seed, count, 4)], np.arange(count) % 2
    for bag, code in zip(bags, codes, strict=True):
        bag[-1, 0] += 5 * code
    return bags, codes


# ------------------------------------------------------------------ likeness
@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_distances_are_those_of_their_definition(seed: int) -> None:
    bags, others = bags_of(seed, 4), bags_of(seed + 1, 3)

    for i, one in enumerate(bags):
        for j, other in enumerate(others):
            far = cdist(one, other)
            found = mean_nearest(bags, others)[i]
            assert found[j] == pytest.approx(far.min(axis=1).mean(), abs=2e-3)
            assert found[j + len(others)] == pytest.approx(far.min(axis=0).mean(), abs=2e-3)


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_and_rows_given_twice_do_not_matter_where_they_must_not(seed: int) -> None:
    bags, others = bags_of(seed, 3), bags_of(seed + 1, 3)
    mixed = [bag[::-1] for bag in bags]
    far = mean_nearest(bags, others)
    np.testing.assert_allclose(far, mean_nearest(mixed, others), atol=1e-4)
    back = mean_nearest(others, bags)
    np.testing.assert_allclose(far, np.concatenate([back[:, 3:].T, back[:, :3].T], axis=1), atol=1e-4)
    twice = [np.concatenate([bag, bag]) for bag in bags]
    np.testing.assert_allclose(far, mean_nearest(twice, others), atol=1e-4)
    np.testing.assert_allclose(statistics(bags), statistics(mixed))


def test_constant_columns_stay_as_they_are() -> None:
    rows = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert Scaler.of(rows)(rows).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


# ------------------------------------------------------------------ members
@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_every_member_learns_and_is_the_same_again(name: str) -> None:
    bags, codes = marked(0, 40)
    others, truth = marked(1, 20)
    said = []
    for _ in range(2):
        member = MEMBERS[name]()
        member.fit(bags, codes, seed=3)
        said.append(member.probability(others))
    np.testing.assert_array_equal(said[0], said[1])
    assert (said[0].argmax(axis=1) == truth).mean() >= 0.9
    np.testing.assert_allclose(said[0].sum(axis=1), 1, atol=1e-6)


def test_a_committee_is_the_mean_of_its_members_and_takes_three_classes() -> None:
    bags = bags_of(0, 30, 4)
    codes = np.arange(30) % 3
    for bag, code in zip(bags, codes, strict=True):
        bag[:, 0] += 4 * code
    committee = Committee(seed=0).fit(bags, codes)
    said = committee.said(bags)
    np.testing.assert_allclose(committee.probability(bags), np.mean(list(said.values()), axis=0))
    assert set(said) == set(MEMBERS)
    assert all(each.shape == (30, 3) for each in said.values())
    assert (committee.probability(bags).argmax(axis=1) == codes).mean() > 0.9


@pytest.mark.parametrize(
    ("bags", "codes", "said"),
    [
        ([], [], "no bags"),
        ([np.zeros((2, 3)), np.zeros((0, 3))], [0, 1], "bag 1 has shape"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], [0, 1], "bag 1 has shape"),
        ([np.zeros((2, 3)), np.full((2, 3), np.nan)], [0, 1], "bag 1 holds"),
        ([np.zeros((2, 3))] * 4, [0, 0, 0, 0], "two or more"),
        ([np.zeros((2, 3))] * 4, [0, 0, 0, 1], "two or more"),
    ],
)
def test_bags_that_teach_nothing_are_refused(bags: list[np.ndarray], codes: list[int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Committee().fit(bags, np.array(codes))


# ------------------------------------------------------------------ bench
def write_data(path: Path, count: int = 24, *, folds: bool = True, label: int = 0) -> Path:
    bags, codes = marked(2, count)
    ids = np.repeat(np.arange(count) + 100, [len(bag) for bag in bags])
    held = {"X": np.concatenate(bags).astype(np.float32), "bag_id": ids, "bags": np.arange(count) + 100}
    held["bag_label"] = np.where(codes == 1, 1, label)
    if folds:
        held["cv_test_fold"] = np.stack([np.arange(count) // 2 % 3, np.arange(count) // 2 % 4]).astype(
            np.int8
        )
    np.savez(path, **held)
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"distances": MEMBERS["distances"], "more": MEMBERS["distances"]}
    monkeypatch.setattr("coverslip.learn.bags.committee.MEMBERS", few)
    monkeypatch.setattr(bench, "MEMBERS", few)
    monkeypatch.setattr(bench, "WORKERS", 1)


def test_folds_are_those_of_the_file_or_stratified_ones(tmp_path: Path) -> None:
    given_folds = BagData.read(write_data(tmp_path / "a.npz", label=-1))
    assert given_folds.folds.shape == (2, 24)
    assert sorted(set(given_folds.codes.tolist())) == [0, 1]
    made = BagData.read(write_data(tmp_path / "b.npz", folds=False))
    assert made.folds.shape == (5, 24)
    assert all(sorted(set(folds.tolist())) == list(range(10)) for folds in made.folds)
    np.testing.assert_array_equal(made.folds, BagData.read(tmp_path / "b.npz").folds)
    assert not (made.folds[0] == made.folds[1]).all()


@pytest.mark.usefixtures("quick")
def test_every_bag_is_tested_once_per_repeat_by_who_never_saw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = BagData.read(write_data(tmp_path / "a.npz"))
    seen: list[tuple[set[bytes], set[bytes]]] = []
    fit, said = Committee.fit, Committee.said

    def fits(self: Committee, bags: list[np.ndarray], codes: np.ndarray) -> Committee:
        seen.append(({bag.tobytes() for bag in bags}, set()))
        return fit(self, bags, codes)

    def says(self: Committee, bags: list[np.ndarray]) -> dict[str, np.ndarray]:
        seen[-1][1].update(bag.tobytes() for bag in bags)
        return said(self, bags)

    monkeypatch.setattr(Committee, "fit", fits)
    monkeypatch.setattr(Committee, "said", says)
    found = cross_validated(data, 1)
    assert found["committee"].shape == (2, 24, 2)
    assert all(np.isfinite(values).all() for values in found.values())
    assert len(seen) == 7
    assert all(not learned & tested and len(learned | tested) == 24 for learned, tested in seen)


@pytest.mark.usefixtures("quick")
def test_the_bench_prints_published_and_ours_side_by_side(tmp_path: Path) -> None:
    write_data(tmp_path / "fox.npz")
    write_data(tmp_path / "own.npz")
    rows = {row["data"]: row for row in bench.run(str(tmp_path))}
    assert rows["fox"]["attention (published)"] == 0.615
    assert rows["fox"]["repeats × folds"] == "2 × 4"
    assert rows["own"]["attention (published)"] is None
    assert rows["own"]["agrees"]
    result = CliRunner().invoke(main, ["bench", "mil", "--data", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    assert [row["ours"] for row in json.loads(result.output)] == [rows["fox"]["ours"], rows["own"]["ours"]]


def test_a_figure_below_the_published_one_does_not_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = BagData.read(write_data(tmp_path / "elephant.npz"))
    wrong = np.eye(2)[1 - data.codes]
    said = {name: np.stack([wrong, wrong]) for name in (*MEMBERS, "committee")}
    monkeypatch.setattr(bench, "cross_validated", lambda *_: said)
    assert row_of(data, 1)["agrees"] is False


def test_folders_and_files_that_hold_no_bags_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        bench.run(None)
    with pytest.raises(SlideNotFoundError):
        bench.run(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="holds no"):
        bench.run(str(tmp_path))
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 2)))
    with pytest.raises(UsageError, match="bag_id, bags, bag_label"):
        bench.run(str(tmp_path))
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="cannot be read"):
        bench.run(str(tmp_path))
