"""A model of bags: an aggregator with its heads; as a network, and loaded from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coverslip.core.errors import StoreError, UsageError
from coverslip.learn.bags.heads import Heads
from coverslip.learn.bags.targets import BagTarget
from coverslip.models.aggregators import build_aggregator
from coverslip.models.aggregators.base import Aggregated
from coverslip.models.folder import FolderCard, ModelFolder

TASK = "classify/bags"
MPP_TOLERANCE = 0.05


class BagNetwork(nn.Module):
    """An aggregator and the heads that read its logits.

    Parameters
    ----------
    name, parameters
        Of the aggregator; see `coverslip.models.aggregators`.
    dim
        Length of the features.
    heads
        One per target.
    """

    def __init__(
        self, name: str, dim: int, heads: Heads, parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.aggregator = build_aggregator(name, dim, heads.outputs, parameters=parameters)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """See `coverslip.models.aggregators.base.Aggregator.forward`."""
        result: Aggregated = self.aggregator(bags, mask, coords)
        return result

    def scale_to(self, mean: Tensor, spread: Tensor) -> None:
        """Shift and scale features by the mean and spread of training tiles, (dim,) each."""
        projection = self.aggregator.project
        projection.shift.copy_(mean)
        projection.scale.copy_(1 / spread)


@dataclass(frozen=True, eq=False)
class BagSaid:
    """What a model says of one bag.

    Attributes
    ----------
    said
        Per target: probabilities (k,), or one number (1,) of a regression.
    attention
        (n,): how much each tile counts, a sum of 1; of several heads of attention their mean.
    tiles
        Per target (n, k): what the model says of each tile alone; None where the method does not define it.
    """

    said: tuple[NDArray[np.float64], ...]
    attention: NDArray[np.float64]
    tiles: tuple[NDArray[np.float64], ...] | None


@dataclass(frozen=True, eq=False)
class BagModel:
    """A trained model of bags, ready to predict.

    Attributes
    ----------
    card
        Of its folder.
    network
        In eval mode.
    targets, classes
        What it predicts, in order.
    """

    card: FolderCard
    network: BagNetwork
    targets: tuple[BagTarget, ...]
    classes: tuple[tuple[str, ...], ...]

    @classmethod
    def load(cls, folder: str | Path | ModelFolder) -> BagModel:
        """Load a model folder.

        Raises
        ------
        UsageError
            When it holds no model of bags, or weights that do not match.
        StoreError
            When it is missing or damaged.
        """
        found = folder if isinstance(folder, ModelFolder) else ModelFolder.load(folder)
        card = found.card
        if card.task != TASK:
            raise UsageError(
                f"{found.path} holds a model of task {card.task!r}; expected {TASK!r}",
                mend="give a model that was trained with method: bags",
            )
        try:
            given = card.parameters
            targets = tuple(BagTarget(**each["target"]) for each in given["targets"])
            classes = tuple(tuple(each["classes"]) for each in given["targets"])
            heads = Heads.of(targets, classes)
            network = BagNetwork(card.architecture, int(given["dim"]), heads, given["aggregator"])
        except (KeyError, TypeError) as error:
            raise StoreError(f"the card of {found.path} is damaged: {error}", mend="copy it anew") from error
        found.into(network)
        return cls(card, network, targets, classes)

    @property
    def encoder(self) -> str | None:
        """Name of the encoder of the features it was trained on."""
        name: str | None = self.card.preprocessing.get("encoder")
        return name

    @property
    def uses_coords(self) -> bool:
        """Whether the tiles' places matter."""
        return bool(self.network.aggregator.uses_coords)

    def require(self, *, dim: int, encoder: str | None, tile_px: int | None, mpp: float | None) -> None:
        """Refuse features that the model cannot judge; None is not known and not refused.

        Raises
        ------
        UsageError
            When they are of another encoder, length, tile size, or mpp by more than 5 %.
        """
        wanted = int(self.card.parameters["dim"])
        if encoder is not None and self.encoder is not None and encoder != self.encoder:
            raise UsageError(
                f"model {self.card.id!r} was trained on features of {self.encoder!r}, these are of "
                f"{encoder!r}",
                mend=f"make the right ones: coverslip run embed --encoder {self.encoder}",
            )
        if dim != wanted:
            raise UsageError(
                f"model {self.card.id!r} takes {wanted} features per tile, these have {dim}",
                mend="give features of the encoder it was trained on",
            )
        if None not in (tile_px, self.card.tile_px) and tile_px != self.card.tile_px:
            raise UsageError(
                f"model {self.card.id!r} was trained on tiles of {self.card.tile_px} px, these have "
                f"{tile_px}",
                mend=f"lay the tiles anew: --set tiles.size={self.card.tile_px}",
            )
        if mpp is not None and self.card.mpp is not None and abs(mpp / self.card.mpp - 1) > MPP_TOLERANCE:
            raise UsageError(
                f"model {self.card.id!r} was trained at mpp {self.card.mpp:g}, these tiles have {mpp:g}",
                mend=f"lay the tiles anew: --set tiles.mpp={self.card.mpp:g}",
            )

    def say(self, features: NDArray[Any], coords: NDArray[Any] | None = None) -> BagSaid:
        """Predict one bag: features (n, d), and the tiles' places (n, 2) if the aggregator wants them.

        Raises
        ------
        UsageError
            When the bag is empty or holds what is no number.
        """
        if not len(features) or not np.isfinite(features).all():
            what = "is empty" if not len(features) else "holds features that are no numbers"
            raise UsageError(f"a bag {what}", mend="leave such tiles out")
        where = None if coords is None else torch.from_numpy(np.asarray(coords, np.float32))[None]
        with torch.inference_mode():
            result = self.network(torch.from_numpy(features)[None], None, where)
            said = self.network.heads.said(result.logits)
            tiles = None if result.tiles is None else self.network.heads.said(result.tiles[0])
            attention = result.attention[0].float().mean(dim=0)
        return BagSaid(
            tuple(each[0].double().numpy() for each in said),
            attention.double().numpy(),
            None if tiles is None else tuple(each.double().numpy() for each in tiles),
        )


def described(targets: tuple[BagTarget, ...], classes: tuple[tuple[str, ...], ...]) -> list[dict[str, Any]]:
    """Return targets as a card holds them."""
    rows = zip(targets, classes, strict=True)
    return [{"target": asdict(target), "classes": list(names)} for target, names in rows]
