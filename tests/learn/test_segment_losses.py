"""Losses of masks: by hand, against references, and blind to what nobody annotated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from coverslip.annotations import IGNORE
from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.learn.segment.losses import LOSSES, SCALE_PX, Boundary, Loss, signed_distances


def drawn(seed: int = 0, unknown: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    make = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 3, 12, 12, generator=make)
    masks = torch.randint(0, 3, (2, 12, 12), generator=make)
    masks[torch.rand(2, 12, 12, generator=make) < unknown] = IGNORE
    return scores, masks


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_pixels_neither_count_nor_teach(name: str) -> None:
    scores, masks = drawn()
    scores.requires_grad_(True)
    loss = Loss({name: 1.0})(scores, masks)
    loss.backward()
    unknown = (masks == IGNORE)[:, None].expand_as(scores)
    assert scores.grad is not None
    assert not scores.grad[unknown].any()
    assert scores.grad[~unknown].any()
    changed = torch.where(unknown, torch.full_like(scores, 50.0), scores.detach())
    assert float(Loss({name: 1.0})(changed, masks)) == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_right_scores_cost_less_than_wrong_ones(name: str) -> None:
    _, masks = drawn(unknown=0)
    right = 10 * functional.one_hot(masks, 3).permute(0, 3, 1, 2).float()
    loss = Loss({name: 1.0})
    assert float(loss(right, masks)) < float(loss(right.roll(1, 1), masks))


def test_dice_and_cross_entropy_by_hand() -> None:
    scores, masks = torch.zeros(1, 2, 1, 4), torch.tensor([[[1, 1, 0, IGNORE]]])
    # each class has probability 1/2 on 3 known pixels: dice = 2·1/(1.5+2) and 2·0.5/(1.5+1)
    dice = 1 - (2 * 1.0 / 3.5 + 2 * 0.5 / 2.5) / 2
    assert float(Loss({"dice": 1})(scores, masks)) == pytest.approx(dice, abs=1e-5)
    both = Loss({"dice": 2, "cross-entropy": 0.5})(scores, masks)
    assert float(both) == pytest.approx(2 * dice + 0.5 * np.log(2), abs=1e-5)


def test_boundary_by_hand() -> None:
    masks = torch.tensor([[[0, 0, 1, 1]]])
    distance = torch.tensor([1.5, 0.5, -0.5, -1.5]) / SCALE_PX
    torch.testing.assert_close(signed_distances(masks, 2)[0, 1, 0], distance)
    torch.testing.assert_close(signed_distances(masks, 2)[0, 0, 0], -distance)
    sure = 20 * functional.one_hot(masks, 2).permute(0, 3, 1, 2).float()
    # all mass on the right side: each class holds -0.5 and -1.5, over 4 pixels and 2 classes
    assert float(Boundary()(sure, masks)) == pytest.approx(-4 / SCALE_PX / 8, abs=1e-6)


def test_a_tile_without_annotation_costs_nothing() -> None:
    scores = torch.randn(1, 2, 8, 8, requires_grad=True)
    loss = Loss({"cross-entropy": 1, "dice": 1})(scores, torch.full((1, 8, 8), IGNORE))
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_unknown_losses_and_weights_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no loss 'dise'; to mend: did you mean 'dice'\?"):
        Loss({"dise": 1})
    with pytest.raises(UsageError, match="expected a number above 0"):
        Loss({"dice": 0})
    with pytest.raises(UsageError, match="there is no loss"):
        Loss({})


def test_a_loss_that_is_no_number_names_the_tiles() -> None:
    pytest.importorskip("lightning")
    from coverslip.learn.segment.module import SegmentModule

    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 2, *x.shape[2:]), torch.nan)

    module = SegmentModule(
        Broken(), ("a", "b"), Loss({"dice": 1}), where=lambda place: f"near ({place}, 0) of A"
    )
    batch = {
        "pixels": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        "mask": torch.zeros(2, 8, 8, dtype=torch.uint8),
        "place": torch.tensor([3, 512]),
    }
    with pytest.raises(
        UsageError, match=r"loss became nan in epoch 0 on the tiles near \(3, 0\) of A, near \(512"
    ):
        module.training_step(batch, 0)
