"""Rows of a cohort that show the same picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort.cohort import Cohort, Rows
from coverslip.cohort.hashing import hashes, near
from coverslip.cohort.pictures import read_pictures
from coverslip.cohort.rings import Rings, ring_pictures, turned_copies
from coverslip.core.errors import UsageError

BITS = 7
"""Bits of the hash in which copies may differ. Recompressed, resized, brightened or noisy tiles differ in
0 to 2; of 3.7 million pairs of different tiles of LC25000 none in so few."""

CORRELATION = 0.5
"""Least correlation of the ring pictures of copies. Of different tiles of LC25000 the highest was 0.47 where
this was chosen, and 0.41 elsewhere."""

FLAT = 4.0
"""Grey levels of standard deviation under which a picture shows nothing that could be recognised."""

GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class Copies:
    """Rows that show the same picture.

    Attributes
    ----------
    pairs
        int64 (m, 2), the smaller row first.
    likeness
        float32 (m,): 1 for the same picture, down to `least`.
    flat
        int64: rows that show nothing, and were not compared.
    count
        Rows of the cohort.
    """

    pairs: NDArray[np.int64]
    likeness: NDArray[np.float32]
    flat: NDArray[np.int64]
    count: int

    @property
    def groups(self) -> NDArray[np.int64]:
        """A number per row, (n,): rows that are linked by copies have the same."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        links = coo_array((np.ones(len(self.pairs)), tuple(self.pairs.T)), shape=(self.count, self.count))
        return np.asarray(connected_components(links, directed=False)[1], np.int64)


def find_copies(cohort: Rows, *, least: float = CORRELATION) -> Copies:
    """Read each row's picture and find those that show the same.

    Tiles are compared at any angle, mirrored and enlarged up to 1.8 times; thumbnails of slides by quarter
    turns and mirrors. Neither finds tiles that merely overlap, nor another section of the same block.

    Parameters
    ----------
    cohort
        Tiles or slides.
    least
        Correlation of turned copies, 0.3 … 1. To group tiles of unknown sources 0.4 is better: it joins more
        copies, at the price of a few wrong joins.

    Raises
    ------
    UsageError
        When pictures cannot be read.
    """
    return copies_of(read_pictures(cohort), turned=not isinstance(cohort, Cohort), least=least)


def copies_of(
    pictures: Iterable[NDArray[np.uint8]], *, turned: bool = True, least: float = CORRELATION
) -> Copies:
    """Find copies among pictures.

    Parameters
    ----------
    pictures
        Batches of uint8 (n, 64, 64, 3).
    turned
        Whether to look at every angle and enlargement; if not, at quarter turns and mirrors.
    least
        Correlation of turned copies, 0.3 … 1.

    Raises
    ------
    UsageError
        When `least` is out of range, or pictures have another shape.
    """
    if not 0.3 <= least <= 1:
        raise UsageError(f"least {least} is out of range", mend="give 0.3 to 1; below, everything is a copy")
    codes, rings, flat = [np.zeros((0, 8), np.uint64)], [], [np.zeros(0, bool)]
    for batch in pictures:
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != (64, 64, 3):
            raise UsageError(f"pictures are {batch.dtype} {batch.shape}: expected uint8 (n, 64, 64, 3)")
        grey = batch.astype(np.float32) @ GREY
        flat.append(grey.std(axis=(1, 2)) < FLAT)
        codes.append(hashes(grey))
        if turned:
            rings.append(ring_pictures(batch))
    is_flat = np.concatenate(flat)
    rows = np.flatnonzero(~is_flat)
    pairs, bits = near(np.concatenate(codes)[rows], BITS)
    found = [(pairs, (1 - bits / 64).astype(np.float32))]
    if turned and len(rows) > 1:
        found.append(turned_copies(_joined(rings, rows), least))
    pairs, likeness = _once(np.concatenate([p for p, _ in found]), np.concatenate([v for _, v in found]))
    return Copies(rows[pairs], likeness, np.flatnonzero(is_flat), len(is_flat))


def _joined(parts: list[Rings], rows: NDArray[np.intp]) -> Rings:
    return Rings(
        np.concatenate([part.harmonics for part in parts])[rows],
        np.concatenate([part.traits for part in parts])[rows],
    )


def _once(
    pairs: NDArray[np.int64], likeness: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Keep each pair once, with its highest likeness."""
    order = np.lexsort((-likeness, pairs[:, 1], pairs[:, 0]))
    pairs, likeness = pairs[order], likeness[order]
    keep = np.ones(len(pairs), bool)
    keep[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[keep], np.minimum(likeness[keep], np.float32(1.0))
