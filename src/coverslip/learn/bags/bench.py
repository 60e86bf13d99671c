"""``coverslip bench mil``: accuracy on sets of bags that others published figures of.

Each data set is judged by five times ten-fold cross-validation, by the folds in its file or, where it holds
none, by stratified folds of seeds 0 to 4. One setting for all data sets: nothing is chosen by what a test
fold says.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import SlideNotFoundError, UsageError
from coverslip.learn.bags.committee import MEMBERS, USUAL, Committee, check_bags

REPEATS, FOLDS = 5, 10
INHERITED = "instance_label_inherited"
WORKERS = 2
"""Folds that are learned at the same time; results do not depend on it."""

ILSE = {
    "musk1": (0.892, 0.900),
    "musk2": (0.858, 0.863),
    "fox": (0.615, 0.603),
    "tiger": (0.839, 0.845),
    "elephant": (0.868, 0.857),
}
"""Attention and gated attention of Ilse, Tomczak and Welling, ICML 2018, table 1: five times ten folds."""

METHOD = (
    "mean of an SVM on bag distances and extra trees on bag statistics; others of these and gated attention "
    "networks where inner folds elect them"
)


@dataclass(frozen=True, eq=False)
class BagData:
    """A data set of bags.

    Attributes
    ----------
    bags
        (n, d) each.
    codes
        Class of each, (b,).
    folds
        (repeats, b): the fold that tests it.
    """

    name: str
    bags: list[NDArray[np.float64]]
    codes: NDArray[np.int64]
    folds: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> BagData:
        """Read a file of ``X`` or ``X_zscored`` (n, d), ``bag_id`` (n,), ``bags`` and ``bag_label`` (b,).

        Without ``bags`` the bags stand in the order of their ids; without ``bag_label`` a bag has the label
        that all its rows have in ``instance_label_inherited``. Labels may be a column, or of each bag a row
        of 0 with one 1. Folds are taken from ``cv_test_fold`` (repeats, b) where it is there.

        Raises
        ------
        UsageError
            When the file is none of these.
        """
        held = _arrays(path)
        features = held.get("X", held.get("X_zscored"))
        lacking = [name for name in ("bag_id",) if name not in held]
        lacking += [] if {"bag_label", INHERITED} & held.keys() else ["bag_label"]
        if features is None or lacking:
            raise UsageError(
                f"{path} lacks {', '.join(lacking) or 'X'}",
                mend="expected X (rows, dim), bag_id (rows), bags and bag_label (bags)",
            )
        ids = held["bag_id"].reshape(-1)
        if features.ndim != 2 or len(ids) != len(features):
            raise UsageError(f"{path}: X is {features.shape} and bag_id {held['bag_id'].shape}: no row each")
        names = held["bags"].reshape(-1) if "bags" in held else np.unique(ids)
        bags = _gathered(features, ids, names)
        check_bags(bags)
        codes = _codes(path, held, names)
        return cls(path.stem, bags, codes, _given_folds(path, held.get("cv_test_fold"), codes))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read: {error}", mend="give .npz files without pickles") from error


def _gathered(features: NDArray[Any], ids: NDArray[Any], names: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Return the rows of each bag, in the order of `names`."""
    order = np.argsort(ids, kind="stable")
    starts, ends = (np.searchsorted(ids[order], names, side=side) for side in ("left", "right"))
    return [features[order[start:end]].astype(np.float64) for start, end in zip(starts, ends, strict=True)]


def _codes(path: Path, held: Mapping[str, NDArray[Any]], names: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class of each bag, from 0."""
    if "bag_label" in held:
        labels = held["bag_label"]
        one_hot = labels.ndim == 2 and labels.shape[1] > 1
        if one_hot and not ((labels != 0).sum(axis=1) == 1).all():
            raise UsageError(f"{path}: bag_label {labels.shape} gives some bags several labels, or none")
        labels = labels.argmax(axis=1) if one_hot else labels.reshape(-1)
    else:
        of_bags = _gathered(held[INHERITED].reshape(-1, 1), held["bag_id"].reshape(-1), names)
        if any(len(np.unique(rows)) > 1 for rows in of_bags):
            raise UsageError(f"{path}: rows of a bag differ in {INHERITED}", mend="give bag_label")
        labels = np.array([rows[0, 0] for rows in of_bags])
    if len(labels) != len(names):
        raise UsageError(f"{path}: {len(names)} bags and {len(labels)} labels")
    found, codes = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise UsageError(f"{path}: all bags have the label {found[0]}", mend="give bags of two classes")
    return codes.astype(np.int64)


def _given_folds(path: Path, folds: NDArray[Any] | None, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (repeats, b): the folds of the file, or stratified ones."""
    if folds is None:
        return _folds(codes)
    found = np.atleast_2d(folds).astype(np.int64)
    if found.shape[1] != len(codes) and found.shape[0] == len(codes):
        found = found.T
    if found.shape[1] != len(codes):
        raise UsageError(f"{path}: {len(codes)} bags, and cv_test_fold is {np.shape(folds)}")
    return found


def _folds(codes: NDArray[np.intp]) -> NDArray[np.int64]:
    from sklearn.model_selection import StratifiedKFold

    found = np.zeros((REPEATS, len(codes)), np.int64)
    count = max(2, min(FOLDS, int(np.bincount(codes).min())))
    for repeat in range(REPEATS):
        splitter = StratifiedKFold(count, shuffle=True, random_state=repeat)
        for fold, (_, test) in enumerate(splitter.split(codes, codes)):
            found[repeat, test] = fold
    return found


def run(data: str | None) -> list[dict[str, Any]]:
    """Return a row per data set of the folder `data`, smallest name first.

    Raises
    ------
    UsageError
        Without a folder, or with one that holds no data sets.
    """
    if data is None:
        raise UsageError("the bench mil takes its data sets from a folder", mend="give --data DIR")
    if not Path(data).is_dir():
        raise SlideNotFoundError(f"there is no folder {data}", mend="check --data")
    files = sorted(Path(data).glob("*.npz"))
    if not files:
        raise UsageError(
            f"{data} holds no .npz file", mend="see docs/how-to/learn-from-bags.md for the layout"
        )
    return [row_of(BagData.read(file), WORKERS) for file in files]


def row_of(data: BagData, workers: int) -> dict[str, Any]:
    """Return the row of a data set: facts, published figures, ours."""
    began = time.perf_counter()
    said = cross_validated(data, workers)
    accuracy = {name: (said[name].argmax(-1) == data.codes).mean(axis=1) for name in (*MEMBERS, "committee")}
    ours = accuracy["committee"]
    attention, gated = ILSE.get(data.name.lower(), (None, None))
    row: dict[str, Any] = {
        "data": data.name,
        "bags": len(data.bags),
        "rows": sum(map(len, data.bags)),
        "attention (published)": attention,
        "gated (published)": gated,
        "ours": float(ours.mean()),
        "± between repeats": float(ours.std()),
        "method": METHOD,
        **{f"{name} alone": float(accuracy[name].mean()) for name in MEMBERS},
        "others elected": float(said["elected"].mean()),
        "repeats × folds": f"{len(data.folds)} × {int(data.folds.max()) + 1}",
        "seeds": f"0–{len(data.folds) - 1}",
        "seconds": round(time.perf_counter() - began, 1),
    }
    return {**row, "agrees": attention is None or bool(row["ours"] >= attention)}


def cross_validated(data: BagData, workers: int) -> dict[str, NDArray[np.float64]]:
    """Return what committee and members say of each bag when it is tested, (repeats, b, k) by name.

    Beside these ``elected``, (folds of all repeats,): whether others than the usual members were elected.
    """
    from joblib import Parallel, delayed

    places = [(r, f) for r, folds in enumerate(data.folds) for f in np.unique(folds).tolist()]
    results = Parallel(n_jobs=workers)(delayed(_fold)(data, repeat, fold) for repeat, fold in places)
    shape = (*data.folds.shape, int(data.codes.max()) + 1)
    found = {name: np.full(shape, np.nan) for name in (*MEMBERS, "committee")}
    for (repeat, fold), (said, _) in zip(places, results, strict=True):
        test = data.folds[repeat] == fold
        for name, chances in said.items():
            found[name][repeat, test] = chances
    others = np.array([float(set(chosen) != set(USUAL)) for _, chosen in results])
    return {**found, "elected": others}


def _fold(data: BagData, repeat: int, fold: int) -> tuple[dict[str, NDArray[np.float64]], tuple[str, ...]]:
    test = data.folds[repeat] == fold
    train = np.flatnonzero(~test)
    committee = Committee(seed=1000 * repeat + fold)
    committee.fit([data.bags[bag] for bag in train], data.codes[train])
    said = committee.said([data.bags[bag] for bag in np.flatnonzero(test)])
    return {**said, "committee": committee.joined(said)}, committee.chosen
