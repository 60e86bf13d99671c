"""Colours that stay apart for colour-blind readers and stand off from pink and violet tissue."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

CLASSES = (
    "#0077bb",
    "#ee7733",
    "#44aa99",
    "#f0e442",
    "#332288",
    "#88ccee",
    "#225555",
    "#1b5e20",
    "#cc6677",
    "#882255",
    "#999933",
    "#7a7a7a",
)
"""For look-alike classes. The first eight stay apart in full, protanope and deuteranope vision; chosen from
schemes of Paul Tol (https://personal.sron.nl/~pault/) and of Okabe and Ito (https://jfly.uni-koeln.de/color/)."""

FLAGS = MappingProxyType(
    {
        "blur": "#0077bb",
        "pen": "#44aa99",
        "fold": "#ee7733",
        "bubble": "#f0e442",
        "over_stained": "#332288",
        "under_stained": "#88ccee",
        "saturated": "#225555",
    }
)
"""For quality flags, of the same eight."""

TISSUE = "#111827"
TILES = "#0077bb"
POOR = "#ee7733"


def class_colour(index: int) -> str:
    """Return the colour of a look-alike class; after the last it starts anew.

    Examples
    --------
    >>> class_colour(0) == class_colour(len(CLASSES))
    True
    """
    return CLASSES[index % len(CLASSES)]


def flag_colour(flag: str) -> str:
    """Return the colour of a quality flag; flags of later versions get one of the class colours."""
    return FLAGS.get(flag) or class_colour(sum(flag.encode()))


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Turn ``#rrggbb`` into numbers.

    Examples
    --------
    >>> rgb_of("#0077bb")
    (0, 119, 187)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def hex_of(rgb: Iterable[float]) -> str:
    """Turn three numbers of 0 to 255 into ``#rrggbb``; what lies outside is clipped.

    Examples
    --------
    >>> hex_of((0, 119.2, 300))
    '#0077ff'
    """
    red, green, blue = (min(255, max(0, round(float(value)))) for value in rgb)
    return f"#{red:02x}{green:02x}{blue:02x}"


def words(name: str) -> str:
    """Turn a name of the code into words.

    Examples
    --------
    >>> words("over_stained")
    'over-stained'
    """
    fixed = {"over_stained": "over-stained", "under_stained": "under-stained", "bubble": "air bubble"}
    return fixed.get(name, name.replace("_", " "))
