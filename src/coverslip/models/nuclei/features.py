"""What the network saw of each nucleus: features for telling classes apart.

They are the network's own maps, gathered per nucleus, and what anybody would measure: colour, size, form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.models.nuclei.reading import Found

if TYPE_CHECKING:
    import torch

PLAIN = ("red", "green", "blue", "red_sd", "green_sd", "blue_sd", "log_area", "log_slenderness")
"""Measured of each nucleus besides what the network saw: mean and spread of colours, size, form."""


def names_of(widths: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the features of a network with these `widths`, in their order.

    Examples
    --------
    >>> names_of((8, 1, 8, 2, 8))[:4]
    ('fine_0', 'coarse_0', 'coarse_1', 'red')
    """
    return (*(f"fine_{i}" for i in range(widths[1])), *(f"coarse_{i}" for i in range(widths[3])), *PLAIN)


def features_of(
    found: Found, pixels: NDArray[np.float32], layers: Sequence[torch.Tensor]
) -> NDArray[np.float32]:
    """Return features (n, d) of nuclei.

    Parameters
    ----------
    found
        Nuclei, in pixels of any scale.
    pixels
        (h, w, 3), as the network was shown them.
    layers
        `coverslip.models.nuclei.network.Seen.fine` and ``coarse`` of one picture.
    """
    fine, coarse = (layer[0] for layer in layers)
    shrunk = found.labels.shape[0] / pixels.shape[0], found.labels.shape[1] / pixels.shape[1]
    of, (y, x) = _places(found, pixels.shape, shrunk)
    sums = _means(of, fine.permute(1, 2, 0)[y // 2, x // 2].float().numpy(), len(found))
    colour = _means(of, pixels[y, x], len(found))
    spread = np.sqrt(np.maximum(_means(of, pixels[y, x] ** 2, len(found)) - colour**2, 0))
    at = (found.centres / np.array(shrunk[::-1]) / 8).astype(np.int64)
    column, row = np.clip(at, 0, np.array([coarse.shape[2], coarse.shape[1]]) - 1).T
    around = coarse.permute(1, 2, 0)[row, column].float().numpy()
    across = found.stars[:, 2:]
    half = across.shape[1] // 2
    across = np.maximum(across[:, :half] + across[:, half:], 1e-3)
    slender = np.log(across.max(axis=1, initial=1e-3) / across.min(axis=1, initial=np.inf))
    area = np.log(np.maximum(found.areas / (shrunk[0] * shrunk[1]), 1))
    return np.column_stack([sums, around, colour, spread, area, slender]).astype(np.float32)


def _places(
    found: Found, shape: tuple[int, ...], shrunk: tuple[float, float]
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return of every second pixel that is a nucleus's, of the picture that was judged: whose, and where.

    One that owns no such pixel is taken where its centre is.
    """
    rows = np.minimum((np.arange(0, shape[0], 2) + 0.5) * shrunk[0], found.labels.shape[0] - 1).astype(int)
    columns = np.minimum((np.arange(0, shape[1], 2) + 0.5) * shrunk[1], found.labels.shape[1] - 1).astype(int)
    labels = found.labels[np.ix_(rows, columns)]
    y, x = np.nonzero(labels)
    of = labels[y, x].astype(np.int64) - 1
    without = np.flatnonzero(np.bincount(of, minlength=len(found)) == 0)
    centre = (found.centres[without] / np.array(shrunk[::-1])).astype(np.int64)
    centre = np.clip(centre, 0, np.array([shape[1], shape[0]]) - 1)
    return np.concatenate([of, without]), (
        np.concatenate([2 * y, centre[:, 1]]),
        np.concatenate([2 * x, centre[:, 0]]),
    )


def _means(of: NDArray[np.int64], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Return the mean (count, d) of rows of `values` that belong together."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix((np.ones(len(of)), (of, np.arange(len(of)))), shape=(count, len(of)))
    sums: NDArray[np.float64] = rows @ values.astype(np.float64)
    return sums / np.maximum(np.bincount(of, minlength=count), 1)[:, None]
