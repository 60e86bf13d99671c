"""Copies are found however they are turned, splits that cut them refused, confounded labels named."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.cohort import (
    Cohort,
    Fold,
    Splits,
    Target,
    TileCohort,
    check_leakage,
    confounding,
    find_copies,
    split,
)
from coverslip.cohort.confounding import cramers_v
from coverslip.cohort.copies import copies_of
from coverslip.cohort.hashing import hashes, near
from coverslip.cohort.pictures import shrunk
from coverslip.core.errors import UsageError
from coverslip.phantom import PhantomSpec, make, write_slide


@pytest.fixture(scope="module")
def scenes() -> np.ndarray:
    """Pictures that have nothing in common, uint8 (24, 224, 224, 3): dark spots on a pink ground."""
    return np.stack([scene(seed) for seed in range(24)])


def scene(seed: int, side: int = 224) -> np.ndarray:
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), (235, 200, 220), np.uint8)
    for x, y in rng.integers(0, side, (70, 2)).tolist():
        axes = tuple(rng.integers(3, 14, 2).tolist())
        shade = rng.integers(60, 160)
        cv2.ellipse(
            picture, (x, y), axes, int(rng.integers(180)), 0, 360, (int(shade), 50, 130), -1, cv2.LINE_AA
        )
    return picture


def turned(picture: np.ndarray, degrees: float, zoom: float = 1.0) -> np.ndarray:
    side = picture.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), degrees, zoom)
    return cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def compressed(picture: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


CHANGES = {
    "compressed": compressed,
    "smaller": lambda picture: cv2.resize(picture, (150, 150), interpolation=cv2.INTER_AREA),
    "brighter": lambda picture: np.minimum(picture * 1.08, 255).astype(np.uint8),
    **{f"quarter turn {k}": lambda picture, k=k: np.rot90(picture, k) for k in (1, 2, 3)},
    **{f"mirror and turn {k}": lambda picture, k=k: np.rot90(picture[:, ::-1], k) for k in range(4)},
}
TURNS = {
    "17°": lambda picture: turned(picture, 17),
    "-40°, 1.3 ×": lambda picture: turned(picture, -40, 1.3),
    "25°, 1.6 ×, mirrored": lambda picture: turned(picture[:, ::-1], 25, 1.6),
}


def found_pairs(scenes: np.ndarray, change, *, turned: bool) -> set[tuple[int, int]]:
    small = [shrunk(picture) for picture in scenes]
    small += [shrunk(np.ascontiguousarray(change(picture))) for picture in scenes]
    return {tuple(pair) for pair in copies_of([np.stack(small)], turned=turned).pairs.tolist()}


@pytest.mark.parametrize("name", CHANGES)
def test_the_hash_finds_copies_and_nothing_else(scenes, name) -> None:
    assert found_pairs(scenes, CHANGES[name], turned=False) == {(k, k + 24) for k in range(24)}


@pytest.mark.parametrize("name", TURNS)
def test_rings_find_what_the_hash_cannot(scenes, name) -> None:
    assert found_pairs(scenes, TURNS[name], turned=False) == set()
    assert found_pairs(scenes, TURNS[name], turned=True) == {(k, k + 24) for k in range(24)}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(0, 7))
def test_the_index_finds_what_comparing_all_finds(seed, count, distance) -> None:
    rng = np.random.default_rng(seed)
    sources = cv2.blur(rng.normal(0, 1, (32, 32, max(1, count // 3))), (5, 5)).reshape(32, 32, -1)
    grey = sources.transpose(2, 0, 1)[rng.integers(0, sources.shape[2], count)]
    grey = grey + rng.normal(0, 1, grey.shape) * rng.choice([0, 0.02, 0.06, 0.1], (count, 1, 1))
    codes = hashes(np.stack([np.rot90(each, rng.integers(4)) for each in grey]))
    pairs, bits = near(codes, distance)
    apart = np.bitwise_count(codes[:, None, :1] ^ codes[None]).min(axis=2)
    wanted = {
        (i, j): apart[i, j] for i in range(count) for j in range(i + 1, count) if apart[i, j] <= distance
    }
    found = {tuple(pair): bit for pair, bit in zip(pairs.tolist(), bits.tolist(), strict=True)}
    assert len(found) == len(pairs)
    assert found.items() <= wanted.items()
    _, first = np.unique(codes.min(axis=1), return_index=True)  # of equal ones, only the first is compared
    assert {pair for pair in wanted if set(pair) <= set(first.tolist())} <= set(found)
    assert {row for pair in wanted for row in pair} == {row for pair in found for row in pair}


def test_many_equal_pictures_are_linked_not_multiplied(scenes) -> None:
    small = np.repeat(shrunk(scenes[0])[None], 500, axis=0)
    copies = copies_of([small])
    assert len(set(copies.groups.tolist())) == 1
    assert len(copies.pairs) < 500 * 9


def test_blank_tiles_are_left_out() -> None:
    rng = np.random.default_rng(0)
    blank = np.clip(rng.normal(240, 2, (6, 64, 64, 3)), 0, 255).astype(np.uint8)
    copies = copies_of([blank])
    assert copies.flat.tolist() == list(range(6))
    assert len(copies.pairs) == 0
    with pytest.raises(UsageError, match="out of range"):
        copies_of([blank], least=0.1)
    with pytest.raises(UsageError, match="expected uint8"):
        copies_of([blank[:, :32]])


# ------------------------------------------------------------------ the check
@pytest.fixture(scope="module")
def tiles(scenes, tmp_path_factory) -> TileCohort:
    """Six copies of each of 24 pictures, turned and mirrored, in files."""
    folder = tmp_path_factory.mktemp("tiles")
    lines = ["path,label,source"]
    for number, picture in enumerate(scenes):
        for copy in range(6):
            name = f"{number}-{copy}.png"
            image = turned(picture[:, ::-1] if copy % 2 else picture, 15.0 * copy, 1 + 0.1 * copy)
            cv2.imwrite(str(folder / name), image)
            lines.append(f"{name},{'xy'[number % 2]},{number}")
    (folder / "tiles.csv").write_text("\n".join(lines))
    return TileCohort.read(folder / "tiles.csv")


def test_a_random_split_is_refused_a_split_by_source_is_not(tiles) -> None:
    blind = TileCohort.read({"path": tiles.column("path").tolist(), "label": tiles.column("label").tolist()})
    random = check_leakage(blind, split(blind))
    assert random.share > 0.95
    with pytest.raises(UsageError, match=r"1\. \d+ of 144 tested rows \(\d+\.\d%\) have a near-duplicate"):
        random.refuse()
    assert random.copies is not None
    marked = blind.with_sources(random.copies.groups)
    assert not check_leakage(marked, split(marked)).refused
    sound = check_leakage(tiles, split(tiles))
    assert (sound.problems, sound.warnings, sound.share) == ((), (), 0.0)
    sound.refuse()


def test_a_few_copies_are_warned_of_unless_none_are_tolerated(tiles) -> None:
    splits = split(tiles)
    table = {name: values.tolist() for name, values in tiles.columns.items()}
    table["source"][0] = "wrong"
    cohort = TileCohort.read(table)
    moved = [np.setdiff1d(np.r_[fold.test, 0], [] if k == 0 else [0]) for k, fold in enumerate(splits.folds)]
    folds = tuple(Fold(np.setdiff1d(np.arange(144), test), [], test) for test in moved)
    there = next(k for k, fold in enumerate(splits.folds) if 1 in fold.test)
    if there == 0:
        pytest.skip("the tile fell where its copies are")
    cut = Splits(folds, "source", cohort.digest, (), "by hand")
    assert not check_leakage(cohort, cut, tolerated=0.1).refused
    assert len(check_leakage(cohort, cut, tolerated=0.1).warnings) == 1
    assert check_leakage(cohort, cut, tolerated=0).refused


def test_patients_in_two_parts_are_refused_inner_folds_too(make_cohort) -> None:
    cohort = make_cohort(30)
    rows = np.arange(len(cohort))
    bad = Fold(rows[::2], [], rows[1::2])
    good = split(cohort).folds[0]
    inner = Fold(good.train, good.val, good.test, inner=(bad,))
    for fold in (bad, inner):
        splits = Splits((fold,), "patient", cohort.digest, (), "by hand")
        found = check_leakage(cohort, splits, look=False)
        assert "values of patient stand in several parts" in found.problems[0]
    assert not check_leakage(cohort, split(cohort), look=False).refused
    with pytest.raises(UsageError, match="another cohort"):
        check_leakage(make_cohort(31), split(cohort), look=False)


def test_one_slide_under_two_names_is_found(tmp_path: Path) -> None:
    for seed in range(3):
        write_slide(make(PhantomSpec(1200, 900), seed), tmp_path / f"{seed}.svs")
    (tmp_path / "again.svs").write_bytes((tmp_path / "1.svs").read_bytes())
    names = ["0", "1", "2", "again"]
    table = {"slide": names, "path": [str(tmp_path / f"{name}.svs") for name in names]}
    cohort = Cohort.read(table)
    assert find_copies(cohort).pairs.tolist() == [[1, 3]]
    splits = Splits((Fold([0, 1], [], [2, 3]),), "patient", cohort.digest, (), "by hand")
    assert check_leakage(cohort, splits).refused


def test_pictures_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"nothing")
    table = {"path": [str(tmp_path / "a.png"), str(tmp_path / "b.png")], "label": ["x", "y"]}
    with pytest.raises(UsageError, match="has 2 problems"):
        find_copies(TileCohort.read(table))


# ------------------------------------------------------------------ real tiles
def lc25000(test_data: Path, folder: Path, *, every: int) -> tuple[TileCohort, TileCohort]:
    """Every so-manieth cluster of the validation tiles, with and without the clusters as sources."""
    with (test_data / "tiles" / "lc25000_lung_index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    kept = sorted({row["source_tile_cluster"] for row in rows})[::every]
    rows = [row for row in rows if row["source_tile_cluster"] in kept]
    with zipfile.ZipFile(test_data / "tiles" / "lc25000_lung_val.zip") as archive:
        archive.extractall(folder, [row["file"] for row in rows])
    table = {"path": [str(folder / row["file"]) for row in rows], "label": [row["label"] for row in rows]}
    # two of the published clusters hold the same picture, which this check found
    sources = [row["source_tile_cluster"].replace("lung_n:228", "lung_n:177") for row in rows]
    return TileCohort.read({**table, "source": sources}), TileCohort.read(table)


def test_real_augmented_tiles(test_data: Path, tmp_path: Path) -> None:
    by_source, blind = lc25000(test_data, tmp_path, every=3)
    random = check_leakage(blind, split(blind))
    assert random.refused
    assert random.share > 0.85
    sound = check_leakage(by_source, split(by_source))
    assert not sound.refused
    assert sound.copies is not None
    one, other = sound.copies.pairs.T
    source = by_source.column("source")
    assert (source[one] == source[other]).all()
    linked = np.zeros(len(by_source), bool)
    linked[sound.copies.pairs.ravel()] = True
    assert linked.mean() > 0.9


# ------------------------------------------------------------------ confounding
def test_cramers_v_is_that_of_scipy() -> None:
    from scipy.stats.contingency import association

    rng = np.random.default_rng(0)
    for _ in range(20):
        table = rng.integers(1, 30, rng.integers(2, 6, 2))
        assert cramers_v(table) == pytest.approx(association(table, method="cramer"))
    assert cramers_v(np.array([[3, 4]])) == 0.0


def test_a_label_of_the_site_is_named(make_cohort) -> None:
    cohort = make_cohort(120)
    assert not confounding(cohort).confounded
    sites = np.where(cohort.column("label") == "a", "A", cohort.column("site"))
    table = {**dict(cohort.columns), "site": sites}
    told = Cohort.read(table, labels=("label",), files=False)
    found = check_leakage(told, split(told), look=False)
    assert found.confounding[0].v > 0.9
    assert found.confounding[0].one_class[0] == ("A", "a")
    assert "label and site are confounded" in found.warnings[0]
    with pytest.raises(UsageError, match="regression"):
        confounding(cohort, target=Target("age", "regression"))


def test_chance_is_rarely_called_confounding(make_cohort) -> None:
    """p is uniform where site and label are independent: of 40 cohorts about 2 fall under 0.05."""
    small = [confounding(make_cohort(40, seed=seed), seed=seed).p <= 0.05 for seed in range(40)]
    assert sum(small) <= 6
