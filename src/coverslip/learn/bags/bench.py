"""``coverslip bench mil``: accuracy on sets of bags that others published figures of.

Each data set is judged by five times ten-fold cross-validation, by the folds in its file or, where it holds
none, by stratified folds of seeds 0 to 4. One setting for all data sets: nothing is chosen by what a test
fold says.
"""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import SlideNotFoundError, UsageError
from coverslip.learn.bags.committee import MEMBERS, Committee, check_bags

REPEATS, FOLDS = 5, 10
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

METHOD = "mean of SVM on bag distances and extra trees on bag statistics; no network"


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

        Folds are taken from ``cv_test_fold`` (repeats, b) where it is there.

        Raises
        ------
        UsageError
            When the file is none of these.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                held = {name: file[name] for name in file.files if not name.startswith("instance")}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UsageError(
                f"{path} cannot be read: {error}", mend="give .npz files without pickles"
            ) from error
        features = held.get("X", held.get("X_zscored"))
        missing = [name for name in ("bag_id", "bags", "bag_label") if name not in held]
        if features is None or missing:
            raise UsageError(
                f"{path} lacks {', '.join(missing) or 'X'}", mend="expected X, bag_id, bags, bag_label"
            )
        bags = [features[held["bag_id"] == bag].astype(np.float64) for bag in held["bags"]]
        check_bags(bags)
        _, codes = np.unique(held["bag_label"], return_inverse=True)
        folds = held.get("cv_test_fold")
        found = _folds(codes) if folds is None else np.atleast_2d(folds).astype(np.int64)
        if found.shape[1:] != codes.shape or len(codes) != len(bags):
            raise UsageError(f"{path}: {len(bags)} bags, {len(codes)} labels, folds {found.shape}")
        return cls(path.stem, bags, codes.astype(np.int64), found)


def _folds(codes: NDArray[np.intp]) -> NDArray[np.int64]:
    from sklearn.model_selection import StratifiedKFold

    found = np.zeros((REPEATS, len(codes)), np.int64)
    for repeat in range(REPEATS):
        splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=repeat)
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
    accuracy = {name: (values.argmax(-1) == data.codes).mean(axis=1) for name, values in said.items()}
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
        "repeats × folds": f"{len(data.folds)} × {int(data.folds.max()) + 1}",
        "seeds": f"0–{len(data.folds) - 1}",
        "seconds": round(time.perf_counter() - began, 1),
    }
    return {**row, "agrees": attention is None or bool(row["ours"] >= attention)}


def cross_validated(data: BagData, workers: int) -> dict[str, NDArray[np.float64]]:
    """Return what committee and members say of each bag when it is tested, (repeats, b, k) by name."""
    from joblib import Parallel, delayed

    places = [(r, f) for r, folds in enumerate(data.folds) for f in np.unique(folds).tolist()]
    results = Parallel(n_jobs=workers)(delayed(_fold)(data, repeat, fold) for repeat, fold in places)
    shape = (*data.folds.shape, int(data.codes.max()) + 1)
    found = {name: np.full(shape, np.nan) for name in (*MEMBERS, "committee")}
    for (repeat, fold), said in zip(places, results, strict=True):
        test = data.folds[repeat] == fold
        for name, chances in said.items():
            found[name][repeat, test] = chances
        found["committee"][repeat, test] = np.mean(list(said.values()), axis=0)
    return found


def _fold(data: BagData, repeat: int, fold: int) -> dict[str, NDArray[np.float64]]:
    test = data.folds[repeat] == fold
    train = np.flatnonzero(~test)
    committee = Committee(seed=1000 * repeat + fold)
    committee.fit([data.bags[bag] for bag in train], data.codes[train])
    return committee.said([data.bags[bag] for bag in np.flatnonzero(test)])
