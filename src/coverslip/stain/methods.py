"""The stain normalisers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coverslip.core.names import load_plugin, plugins, unknown
from coverslip.stain.chain import ColourMap
from coverslip.stain.density import WHITE, Background
from coverslip.stain.macenko import fit_macenko
from coverslip.stain.matrices import StainMatrix
from coverslip.stain.reinhard import LabStatistics, fit_reinhard, transfer_colours
from coverslip.stain.transfer import StainTransfer
from coverslip.stain.vahadane import fit_vahadane


class Method(NamedTuple):
    """A way to normalise: what it learns from a slide, and the map between two of these.

    Attributes
    ----------
    fit
        ``fit(pixels, background) -> Fit``.
    transfer
        ``transfer(source, target) -> ColourMap``, see `coverslip.stain.chain`.
    fitted
        The type of what `fit` returns, with ``to_dict`` and ``from_dict``.
    """

    fit: Callable[[NDArray[np.uint8], Background], Any]
    transfer: Callable[[Any, Any], ColourMap]
    fitted: type[Any]


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "macenko": Method(fit_macenko, StainTransfer, StainMatrix),
        "reinhard": Method(fit_reinhard, transfer_colours, LabStatistics),
        "vahadane": Method(fit_vahadane, StainTransfer, StainMatrix),
    }
)
"""The normalisers built in; others come by the entry point ``coverslip.stainers``."""


def method(name: str) -> Method:
    """Return the method `name`, built in or a plug-in.

    Raises
    ------
    UnknownNameError
        When there is none; the nearest match is in the message.
    """
    if name in METHODS:
        return METHODS[name]
    if name in plugins("stainers"):
        return Method(*load_plugin("stainers", name))
    raise unknown("stain normaliser", name, {*METHODS, *plugins("stainers")})


def fit(name: str, pixels: NDArray[np.uint8], background: Background = WHITE) -> Any:
    """Learn what the method `name` needs to know of a slide.

    Parameters
    ----------
    name
        Of `METHODS`.
    pixels
        uint8 (…, 3) from the tissue of the whole slide.
    background
        Intensity of empty glass.

    Raises
    ------
    StainError
        When the pixels do not show what the method needs.
    UnknownNameError
        When there is no such method.
    """
    return method(name).fit(pixels, background)
