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
from coverslip.learn.bags.committee import MEMBERS, USUAL, Committee, elected
from coverslip.learn.bags.likeness import Scaler, mean_nearest, rows_within, statistics, thinned


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


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 400))
@settings(max_examples=40, deadline=None)
def test_large_bags_show_as_many_rows_as_there_is_room_for(sizes: list[int], most: int) -> None:
    bags = [np.arange(n, dtype=float)[:, None] for n in sizes]
    each = rows_within(sizes, most)
    shown = thinned(bags, each, 0)
    assert sum(map(len, shown)) <= max(most, len(bags))
    assert each == max(sizes) or sum(min(n, each + 1) for n in sizes) > most
    for bag, few in zip(bags, shown, strict=True):
        assert len(few) == min(len(bag), each)
        assert np.isin(few, bag).all()
        assert len(np.unique(few)) == len(few)


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
    assert member.held.shape == (40, 2)
    assert (member.held.argmax(axis=1) == codes).mean() >= 0.9


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_what_a_member_held_back_knows_nothing_of_the_bag_itself(name: str) -> None:
    """Labels drawn at random: whoever looked at them would be right."""
    bags, codes = bags_of(4, 60), np.random.default_rng(2).permutation(np.arange(60) % 2)
    member = MEMBERS[name]()
    member.fit(bags, codes, seed=0)
    assert 0.25 < (member.held.argmax(axis=1) == codes).mean() < 0.75


def test_rows_of_some_bags_are_theirs_in_their_order() -> None:
    pytest.importorskip("torch")
    from coverslip.learn.bags.attending import Rows

    bags = bags_of(6, 9)
    wanted = np.array([4, 0, 8, 4])
    some, expected = Rows.of(bags).take(wanted), Rows.of([bags[bag] for bag in wanted])
    np.testing.assert_array_equal(some.x, expected.x)
    np.testing.assert_array_equal(some.owner, expected.owner)


def test_networks_see_bags_alone_and_no_order_of_rows() -> None:
    torch = pytest.importorskip("torch")
    from coverslip.learn.bags.attending import Networks, Rows

    bags = bags_of(7, 5)
    networks = Networks(3, 3, 2, torch.Generator().manual_seed(0))
    together = networks(Rows.of(bags))
    for number, bag in enumerate(bags):
        alone = networks(Rows.of([np.concatenate([bag[::-1], bag])]))[:, 0]
        torch.testing.assert_close(alone, together[:, number], atol=1e-5, rtol=1e-5)


def test_where_one_row_in_many_tells_the_networks_are_elected() -> None:
    rng = np.random.default_rng(0)
    bags = [rng.normal(size=(int(rng.integers(8, 20)), 40)) for _ in range(200)]
    codes = np.arange(200) % 2
    for bag, code in zip(bags, codes, strict=True):
        bag[0, :5] += 2.2 * code
    committee = Committee(seed=0).fit(bags[:120], codes[:120])
    said = committee.said(bags[120:])
    assert "networks" in committee.chosen
    right = (committee.joined(said).argmax(axis=1) == codes[120:]).mean()
    usual = (np.mean([said[name] for name in USUAL], axis=0).argmax(axis=1) == codes[120:]).mean()
    assert right >= usual + 0.05


def test_the_usual_members_stay_unless_others_are_clearly_better() -> None:
    codes = np.arange(100) % 2
    truth = np.eye(2)[codes]
    some, more = truth.copy(), truth.copy()
    some[:20], more[:19] = 1 - some[:20], 1 - more[:19]
    held = {"distances": some, "trees": some, "networks": more}
    assert elected(held, codes) == USUAL  # one bag more is within chance
    assert elected({**held, "networks": truth}, codes) == ("networks",)


def test_a_committee_is_the_mean_of_its_members_and_takes_three_classes() -> None:
    bags = bags_of(0, 30, 4)
    codes = np.arange(30) % 3
    for bag, code in zip(bags, codes, strict=True):
        bag[:, 0] += 4 * code
    committee = Committee(seed=0).fit(bags, codes)
    said = committee.said(bags)
    chosen = [said[name] for name in committee.chosen]
    np.testing.assert_allclose(committee.probability(bags), np.mean(chosen, axis=0))
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


@pytest.mark.parametrize(
    "change",
    [
        {"bags": None},
        {"bag_label": None},
        {"bags": None, "bag_label": None},
        {"bag_label": lambda a: a.reshape(-1, 1)},
        {"bag_label": lambda a: np.eye(2)[a]},
        {"bag_label": lambda a: np.where(a == 1, "sick", "well")},
        {"bag_id": lambda a: a.reshape(-1, 1)},
        {"cv_test_fold": lambda a: a.T},
        {"cv_test_fold": lambda a: a[0]},
        {"X": None},
    ],
    ids="-".join,
)
def test_files_that_say_the_same_in_another_way_are_read_alike(tmp_path: Path, change: dict) -> None:
    with np.load(write_data(tmp_path / "a.npz")) as file:
        held = dict(file)
    own = held["bag_label"][held["bag_id"] - 100]
    other = held | {"instance_label_inherited": own, "X_zscored": held["X"]}
    for name, made in change.items():
        if made is None:
            del other[name]
        else:
            other[name] = made(other[name])
    np.savez(tmp_path / "b.npz", **other)
    one, two = BagData.read(tmp_path / "a.npz"), BagData.read(tmp_path / "b.npz")
    for bag, same in zip(one.bags, two.bags, strict=True):
        np.testing.assert_array_equal(bag, same)
    assert len(set(zip(one.codes.tolist(), two.codes.tolist(), strict=True))) == 2
    np.testing.assert_array_equal(two.folds, one.folds[: len(two.folds)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bag_label": np.zeros(24)}, "all bags have the label"),
        ({"bag_label": np.zeros(23)}, "24 bags and 23 labels"),
        ({"bag_label": np.ones((24, 2))}, "several labels"),
        ({"bags": np.arange(24)}, "bag 0 has shape"),
        ({"bag_id": np.zeros(5)}, "no row each"),
        ({"cv_test_fold": np.zeros((2, 7))}, "cv_test_fold"),
        ({"X": np.full((4, 2, 2), 1.0)}, "no row each"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path: Path, change: dict, said: str) -> None:
    with np.load(write_data(tmp_path / "a.npz")) as file:
        held = dict(file)
    np.savez(tmp_path / "b.npz", **(held | change))
    with pytest.raises(UsageError, match=said):
        BagData.read(tmp_path / "b.npz")


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
    said["elected"] = np.zeros(7)
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
    with pytest.raises(UsageError, match="lacks bag_id, bag_label"):
        bench.run(str(tmp_path))
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="cannot be read"):
        bench.run(str(tmp_path))
