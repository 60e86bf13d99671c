"""What a segmenter's scores cost against drawn masks; pixels that nobody annotated cost nothing.

Dice (Milletari et al., 3DV 2016), focal (Lin et al., ICCV 2017) and Tversky (Salehi et al., MLMI 2017) are
those of segmentation-models-pytorch; the boundary loss (Kervadec et al., MIDL 2019) is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from coverslip.annotations import IGNORE
from coverslip.core import unknown
from coverslip.core.errors import UsageError

LOSSES = ("cross-entropy", "dice", "focal", "tversky", "boundary")
"""Names of a task's ``loss``."""

SCALE_PX = 16.0
"""The boundary loss counts distances in so many pixels, and no distance for more than one such."""


class Loss(nn.Module):
    """A weighted sum of losses.

    Parameters
    ----------
    weights
        Name of `LOSSES` → weight above 0.
    class_weights
        Of the classes, for the cross-entropy; None weighs all alike.

    Raises
    ------
    UnknownNameError
        When there is no such loss.
    UsageError
        When a weight is not above 0, or there is none.

    Examples
    --------
    >>> loss = Loss({"dice": 1.0, "cross-entropy": 0.5})
    >>> scores, masks = torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), IGNORE)
    >>> masks[0, :2] = 1
    >>> round(float(loss(scores, masks)), 3)
    0.513
    """

    def __init__(self, weights: Mapping[str, float], class_weights: torch.Tensor | None = None) -> None:
        super().__init__()
        check_weights(weights)
        self._weights = dict(weights)
        self._parts = nn.ModuleDict({name: _part(name, class_weights) for name in weights})

    def forward(self, scores: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the loss of scores (n, k, h, w) against masks (n, h, w) of class numbers or `IGNORE`."""
        total = scores.new_zeros(())
        for name, weight in self._weights.items():
            total = total + weight * self._parts[name](scores.float(), masks.long())
        return total


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse names that are no loss and weights that are not above 0."""
    for name, weight in weights.items():
        if name not in LOSSES:
            raise unknown("loss", name, LOSSES)
        if not 0 < weight < np.inf:
            raise UsageError(f"loss {name} has weight {weight!r}: expected a number above 0")
    if not weights:
        raise UsageError("there is no loss", mend="write loss: {dice: 1, cross-entropy: 1}")


def _part(name: str, class_weights: torch.Tensor | None) -> nn.Module:
    from segmentation_models_pytorch import losses

    common: dict[str, Any] = {"mode": "multiclass", "ignore_index": IGNORE}
    if name == "dice":
        return losses.DiceLoss(**common)
    if name == "focal":
        return losses.FocalLoss(gamma=2.0, **common)
    if name == "tversky":
        return losses.TverskyLoss(alpha=0.3, beta=0.7, **common)  # misses cost more than false alarms
    return Boundary() if name == "boundary" else CrossEntropy(class_weights)


class CrossEntropy(nn.Module):
    """Mean over the annotated pixels; 0 where there are none."""

    def __init__(self, class_weights: torch.Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, scores: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the loss; see `Loss.forward`."""
        weight = self.class_weights
        if not (masks != IGNORE).any():
            return scores.sum() * 0
        return functional.cross_entropy(scores, masks, weight=weight, ignore_index=IGNORE)  # type: ignore[arg-type]


class Boundary(nn.Module):
    """Probability mass times its signed distance to the true border, by class.

    Mass inside the true region is rewarded and mass outside charged, the more the farther from the border. It
    has no minimum of its own sense far from the truth, so it goes with another loss (Kervadec et al. begin
    with Dice).
    """

    def forward(self, scores: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the loss; see `Loss.forward`."""
        known = masks != IGNORE
        distance = signed_distances(masks, scores.shape[1]).to(scores)
        mass = scores.softmax(1) * distance * known[:, None]
        return mass.sum() / (known.sum().clamp(min=1) * scores.shape[1])


def signed_distances(masks: torch.Tensor, classes: int) -> torch.Tensor:
    """Return distances to the border of each class / `SCALE_PX`, (n, classes, h, w), inside below 0.

    They are cut off at -1 and 1. A class that a mask does not hold is 1 everywhere, one that fills it -1.
    Pixels without annotation belong to no class here, and are left out by the loss.

    Examples
    --------
    >>> signed_distances(torch.tensor([[[0, 0, 1, 1]]]), 2)[0, 1, 0] * SCALE_PX
    tensor([ 1.5000,  0.5000, -0.5000, -1.5000])
    """
    import cv2

    given = masks.cpu().numpy()
    result = np.ones((len(given), classes, *given.shape[1:]), np.float32)
    for row, mask in enumerate(given):
        for number in range(classes):
            inside = (mask == number).astype(np.uint8)
            if not inside.any():
                continue
            if inside.all():
                result[row, number] = -1
                continue
            out = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            # to the border between pixels, not to the first pixel beyond it
            signed = np.where(inside > 0, 0.5 - within, out - 0.5)
            result[row, number] = np.clip(signed / SCALE_PX, -1, 1)
    return torch.from_numpy(result)
