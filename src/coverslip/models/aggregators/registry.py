"""The aggregators Coverslip knows: a row each. Listing them imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from coverslip.core import unknown
from coverslip.core.errors import UsageError

if TYPE_CHECKING:
    from coverslip.models.aggregators.base import Aggregator

ROOM = "coverslip.models.aggregators"


@dataclass(frozen=True)
class AggregatorCard:
    """The facts of an aggregator.

    Attributes
    ----------
    id
        The name used in tasks, files and on the command line.
    builds
        ``module:Class`` in this room.
    parameters
        What may be set, with the defaults.
    cite
        Whose method it is.
    uses_coords
        Whether it needs the places of the tiles.
    one_target
        Whether it can only learn one target with classes.
    fixed
        What the name stands for, and a user cannot set.
    """

    id: str
    builds: str
    parameters: Mapping[str, Any]
    cite: str
    uses_coords: bool = False
    one_target: bool = False
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


_POOL = MappingProxyType({"hidden": 512, "dropout": 0.25})
_ATTENTION = MappingProxyType({**_POOL, "width": 256})
_CLAM = MappingProxyType({**_POOL, "sample": 8, "weight": 0.3})
ILSE = "Ilse et al., ICML 2018"
LU = "Lu et al., Nature Biomedical Engineering 2021"

_CARDS = (
    AggregatorCard("mean", "pool:MeanPool", _POOL, "Wang et al., Pattern Recognition 2018"),
    AggregatorCard("max", "pool:MaxPool", _POOL, "Campanella et al., Nature Medicine 2019"),
    AggregatorCard("abmil", "abmil:ABMIL", _ATTENTION, ILSE, fixed={"gated": True}),
    AggregatorCard("abmil-plain", "abmil:ABMIL", _ATTENTION, ILSE, fixed={"gated": False}),
    AggregatorCard("clam-sb", "clam:CLAM", _CLAM, LU, one_target=True, fixed={"branches": "single"}),
    AggregatorCard("clam-mb", "clam:CLAM", _CLAM, LU, one_target=True, fixed={"branches": "multi"}),
    AggregatorCard("dsmil", "dsmil:DSMIL", {**_POOL, "width": 128}, "Li et al., CVPR 2021"),
    AggregatorCard(
        "transmil", "transmil:TransMIL", {**_POOL, "heads": 8, "landmarks": 256}, "Shao et al., NeurIPS 2021"
    ),
    AggregatorCard("dtfd", "dtfd:DTFD", {**_ATTENTION, "parts": 5}, "Zhang et al., CVPR 2022"),
    AggregatorCard(
        "graph",
        "graph:GraphMIL",
        {"hidden": 128, "dropout": 0.25, "width": 128, "neighbours": 8, "rounds": 3},
        "Chen et al., MICCAI 2021",
        uses_coords=True,
    ),
)

AGGREGATORS: Mapping[str, AggregatorCard] = MappingProxyType({card.id: card for card in _CARDS})


def aggregator_card(name: str) -> AggregatorCard:
    """Return the card of aggregator `name`.

    Raises
    ------
    UnknownNameError
        With the nearest name.

    Examples
    --------
    >>> aggregator_card("clam-sb").cite
    'Lu et al., Nature Biomedical Engineering 2021'
    """
    if name not in AGGREGATORS:
        raise unknown("aggregator", name, AGGREGATORS)
    return AGGREGATORS[name]


def checked_parameters(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of aggregator `name`: its defaults, and over them what is given.

    Raises
    ------
    UnknownNameError
        When there is no such aggregator or parameter.
    UsageError
        When a value cannot be one.

    Examples
    --------
    >>> checked_parameters("mean", {"hidden": 64})
    {'hidden': 64, 'dropout': 0.25}
    """
    known = aggregator_card(name).parameters
    for key, value in parameters.items():
        if key not in known:
            raise unknown(f"parameter of aggregator {name!r}", key, known)
        _check(name, key, value, known[key])
    chosen = {**known, **parameters}
    if chosen["hidden"] % chosen.get("heads", 1):
        raise UsageError(
            f"{name}: hidden={chosen['hidden']} cannot be shared by heads={chosen['heads']}",
            mend="choose hidden as a multiple of heads",
        )
    return chosen


def _check(name: str, key: str, value: Any, default: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, int):
        fits, wanted = number and isinstance(value, int) and value >= 1, "a whole number from 1 on"
    elif key == "dropout":
        fits, wanted = number and 0 <= value < 1, "a number from 0 to below 1"
    else:
        fits, wanted = number and value >= 0, "a number from 0 on"
    if not fits:
        raise UsageError(f"{name}: {key}={value!r} was given; expected {wanted}", mend=f"set {key}={default}")


def build_aggregator(
    name: str, dim: int, outputs: int, *, parameters: Mapping[str, Any] | None = None
) -> Aggregator:
    """Build aggregator `name` with fresh weights.

    Parameters
    ----------
    dim
        Length of a tile's features.
    outputs
        Numbers wanted of each bag.
    parameters
        See `AggregatorCard.parameters`.

    Raises
    ------
    UnknownNameError, UsageError
        See `checked_parameters`.

    Examples
    --------
    >>> import torch
    >>> bags = torch.zeros(2, 7, 32)
    >>> result = build_aggregator("abmil", 32, 3, parameters={"hidden": 16})(bags)
    >>> result.logits.shape, result.attention.shape
    (torch.Size([2, 3]), torch.Size([2, 1, 7]))
    """
    card, chosen = aggregator_card(name), checked_parameters(name, parameters or {})
    module, _, kind = card.builds.partition(":")
    made: Aggregator = getattr(import_module(f"{ROOM}.{module}"), kind)(dim, outputs, **chosen, **card.fixed)
    return made
