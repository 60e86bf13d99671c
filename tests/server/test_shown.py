"""One stain alone: what remains is that stain's colour, and as much of it as there was."""

from __future__ import annotations

import numpy as np
import pytest

from coverslip.core.errors import UnknownNameError
from coverslip.server.shown import STAINS, Shown
from coverslip.stain import RUIFROK_JOHNSTON, to_od
from coverslip.stain.separation import recombine, separate


@pytest.mark.parametrize("name", STAINS)
def test_a_stain_alone_keeps_its_amount(name: str) -> None:
    stains = RUIFROK_JOHNSTON[STAINS[name]]
    index = [one.lower() for one in stains.names].index(name)
    amounts = np.random.default_rng(0).uniform(0, 0.8, (16, 16, len(stains.names))).astype(np.float32)
    shown = Shown(stain=name).coloured(recombine(amounts, stains))
    left = separate(shown, stains)
    assert np.abs(left[..., index] - amounts[..., index]).max() < 0.05
    others = np.delete(left, index, axis=-1)
    assert np.abs(others).max() < 0.05


def test_glass_stays_white() -> None:
    glass = np.full((4, 4, 3), 255, np.uint8)
    assert to_od(Shown(stain="eosin").coloured(glass)).max() < 0.01


def test_another_stain_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="eosine"):
        Shown(stain="eosine")
