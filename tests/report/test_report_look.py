"""What everyone must be able to see: contrast of text, and colours that colour-blind readers tell apart."""

from __future__ import annotations

import re
from importlib import resources
from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from coverslip.report.palette import CLASSES, FLAGS, rgb_of

STYLE = (resources.files("coverslip.report") / "templates" / "style.css").read_text(encoding="utf-8")
MODES = dict(zip(("light", "dark"), re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2], strict=True))

# Machado, Oliveira & Fernandes 2009, severity 1, on linear light
PROTAN = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
DEUTAN = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
VISION = {"full": np.eye(3), "protanopia": np.array(PROTAN), "deuteranopia": np.array(DEUTAN)}
PAIRS = (
    *(
        "ink paper",
        "ink card",
        "soft card",
        "soft paper",
        "accent card",
        "ink accent-soft",
        "soft accent-soft",
    ),
    *("bad bad-soft", "warn warn-soft", "good good-soft", "ink bad-soft", "soft bad-soft"),
)


def colours(mode: str) -> dict[str, np.ndarray]:
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", MODES[mode]))
    return {name: np.array(rgb_of(value)) / 255 for name, value in found.items()}


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2 contrast ratio."""
    low, high = sorted(float(linear(rgb) @ (0.2126, 0.7152, 0.0722)) for rgb in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pair", PAIRS)
def test_text_stands_out(mode: str, pair: str) -> None:
    found = colours(mode)
    text, ground = pair.split()
    assert contrast(found[text], found[ground]) >= 4.5


def seen_by(kind: str, colour: str) -> np.ndarray:
    light = np.clip(VISION[kind] @ linear(np.array(rgb_of(colour)) / 255), 0, 1)
    return rgb2lab(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("kind", VISION)
@pytest.mark.parametrize("scheme", [tuple(FLAGS.values()), CLASSES[:8]], ids=["flags", "classes"])
def test_colours_stay_apart_for_colour_blind_readers(kind: str, scheme: tuple[str, ...]) -> None:
    near = {
        (one, other): float(deltaE_ciede2000(seen_by(kind, one), seen_by(kind, other)))
        for one, other in combinations(scheme, 2)
    }
    assert min(near.values()) > 12, min(near, key=near.__getitem__)
