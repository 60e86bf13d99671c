"""Features on disk, opened without reading them: run folders, CLAM's and TRIDENT's h5, npz."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError, UsageError

SUFFIXES = (".h5", ".hdf5", ".npz")
NAMES = ("features", "X")
"""What the dataset of the features may be called, in this order."""


@dataclass(frozen=True)
class FeatureFacts:
    """What is known of the features of a slide without reading them.

    Attributes
    ----------
    path
        The file.
    tiles, dim
        Rows and columns.
    encoder, tile_px, mpp
        As the file states them; None where it does not.
    has_coords
        Whether it says where the tiles lie.
    """

    path: Path
    tiles: int
    dim: int
    encoder: str | None = None
    tile_px: int | None = None
    mpp: float | None = None
    has_coords: bool = True


def find_features(root: Path, slide: str, encoder: str | None) -> Path:
    """Return the file of a slide's features.

    Parameters
    ----------
    root
        A run folder, or a folder with one file a slide: ``<slide>.h5`` or ``<slide>.npz``.
    encoder
        Which features of a run folder; None when it has one kind only.

    Raises
    ------
    StoreError
        When there is none, or several and none was named.
    """
    inside = root / "slides" / slide / "features"
    if inside.is_dir():
        found = sorted(inside.glob(f"{encoder or '*'}.h5"))
        if len(found) > 1:
            raise StoreError(
                f"{inside} holds features of {', '.join(path.stem for path in found)}",
                mend="name one: encoder: NAME",
            )
    else:
        found = [path for path in (root / (slide + suffix) for suffix in SUFFIXES) if path.is_file()]
    if not found:
        what = f"of {encoder} " if encoder else ""
        raise StoreError(
            f"there are no features {what}of slide {slide!r} in {root}",
            mend="make them: coverslip run embed COHORT.csv -o RUN, or give the folder that holds <slide>.h5",
        )
    return found[0]


def facts_of(path: Path) -> FeatureFacts:
    """Read what a file says of its features.

    Raises
    ------
    StoreError
        When it is none of features, or damaged.
    """
    if path.suffix == ".npz":
        return _npz_facts(path)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            features = file[_name(path, file)]
            tiles, dim = _flat(path, features.shape)
            about = dict(file.attrs)
            coords = "coords" in file
            at = dict(file["coords"].attrs) if coords else {}
    except (OSError, KeyError) as error:
        raise StoreError(
            f"{path} cannot be read as features: {error}", mend="make or copy it anew"
        ) from error
    size = about.get("tile_px", at.get("patch_size", at.get("patch_size_target")))
    encoder, mpp = about.get("encoder"), about.get("mpp")
    return FeatureFacts(
        path,
        tiles,
        dim,
        encoder=None if encoder is None else str(encoder),
        tile_px=None if size is None else int(size) or None,
        mpp=None if mpp is None else float(mpp),
        has_coords=coords,
    )


def read_features(
    facts: FeatureFacts, rows: NDArray[np.int64] | None = None, *, coords: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Read features (m, d), as they are stored, and the tiles' corners (m, 2) if wanted.

    Parameters
    ----------
    rows
        Which tiles, ascending; None for all.

    Raises
    ------
    StoreError
        When the file is damaged, or has no coords and they are wanted.
    """
    if coords and not facts.has_coords:
        raise StoreError(
            f"{facts.path} does not say where its tiles lie", mend="choose an aggregator without coords"
        )
    if facts.path.suffix == ".npz":
        return _read_npz(facts, rows, coords)
    import h5py

    try:
        with h5py.File(facts.path, "r") as file:
            features = _taken(facts.path, file[_name(facts.path, file)], rows)
            places = _taken(facts.path, file["coords"], rows) if coords else None
    except (OSError, KeyError) as error:
        raise StoreError(f"{facts.path} cannot be read: {error}", mend="make or copy it anew") from error
    return features, None if places is None else places.astype(np.int64)


def _taken(path: Path, dataset: Any, rows: NDArray[np.int64] | None) -> NDArray[Any]:
    """Read rows; of a dataset that lies in one piece, as ours do, only the pages that hold them."""
    shape = dataset.shape[1:] if dataset.ndim == 3 else dataset.shape
    if rows is None or dataset.id.get_offset() is None:
        whole = np.asarray(dataset[:]).reshape(shape)
        return whole if rows is None else whole[rows]
    mapped = np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), shape)
    return np.asarray(mapped[rows])


def _name(path: Path, names: Any) -> str:
    for name in NAMES:
        if name in names:
            return name
    raise StoreError(
        f"{path} holds no dataset called {' or '.join(NAMES)}", mend="see docs/how-to/learn-from-bags.md"
    )


def _flat(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    flat = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(flat) != 2:
        raise StoreError(f"{path} holds features of shape {shape}; expected (tiles, dim) or (1, tiles, dim)")
    return int(flat[0]), int(flat[1])


def _npz_facts(path: Path) -> FeatureFacts:
    try:
        with np.load(path, allow_pickle=False) as file:
            tiles, dim = _flat(path, file[_name(path, file.files)].shape)
            encoder = str(file["encoder"]) if "encoder" in file.files else None
            return FeatureFacts(path, tiles, dim, encoder=encoder, has_coords="coords" in file.files)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, StoreError | UsageError):
            raise
        raise StoreError(
            f"{path} cannot be read as features: {error}", mend="make or copy it anew"
        ) from error


def _read_npz(
    facts: FeatureFacts, rows: NDArray[np.int64] | None, coords: bool
) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    with np.load(facts.path, allow_pickle=False) as file:
        features = file[_name(facts.path, file.files)].reshape(facts.tiles, facts.dim)
        places = file["coords"].reshape(facts.tiles, 2).astype(np.int64) if coords else None
    if rows is None:
        return features, places
    return features[rows], None if places is None else places[rows]
