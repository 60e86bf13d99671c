"""Learning what colour and texture say of a class: a logistic regression on descriptions of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coverslip.models.folder import FolderCard

if TYPE_CHECKING:
    import torch

PRIOR = 0.03
"""Variance that a weight is expected to have; chosen on LC25000's training sources by folds."""

BATCH = 32


def learned(
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    codes: NDArray[np.int64],
    card: FolderCard,
    *,
    balanced: bool,
) -> dict[str, torch.Tensor]:
    """Return the weights of a `coverslip.models.texture.Texture` that was fitted to pictures.

    Parameters
    ----------
    pixels
        uint8 (n, side, side, 3).
    rows, codes
        Which of them teach, (m,), and the class of each.
    card
        Classes, mean and standard deviation of the model.
    balanced
        Whether rare classes weigh as much as frequent ones.
    """
    import torch
    from sklearn.linear_model import LogisticRegression

    from coverslip.models.texture import Texture

    texture = Texture(len(card.classes), mean=tuple(card.mean or ()), std=tuple(card.std or ()))
    with torch.inference_mode():
        said = [_described(texture, pixels[rows[i : i + BATCH]]) for i in range(0, len(rows), BATCH)]
    seen = np.concatenate(said).astype(np.float64)
    centre, spread = seen.mean(axis=0), seen.std(axis=0)
    spread[spread < 1e-6] = 1.0  # what never varies says nothing
    weights = "balanced" if balanced else None
    model = LogisticRegression(C=PRIOR, class_weight=weights, max_iter=1000)
    model.fit((seen - centre) / spread, codes)
    slopes, offsets = model.coef_, model.intercept_
    if len(slopes) == 1:  # two classes: the first is the other's negative
        slopes, offsets = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    found = {"head.weight": slopes, "head.bias": offsets, "centre": centre, "spread": spread}
    return {name: torch.from_numpy(np.asarray(values, np.float32)) for name, values in found.items()}


def _described(texture: torch.nn.Module, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    import torch

    whole = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    found: torch.Tensor = texture.describe((whole - texture.mean) / texture.std)  # type: ignore[operator]
    return found.numpy()
