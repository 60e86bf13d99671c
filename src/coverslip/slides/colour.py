"""Colour: ICC profiles, and a display composite of slides that are not red, green and blue."""

from __future__ import annotations

import colorsys
import io
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import CorruptSlideError, UsageError
from coverslip.slides.reader import Facts

GREY = (1.0, 1.0, 1.0)

DYES = {
    "dapi": (0.2, 0.35, 1.0),
    "hoechst": (0.2, 0.35, 1.0),
    "fitc": (0.0, 1.0, 0.0),
    "gfp": (0.0, 1.0, 0.0),
    "cy3": (1.0, 0.8, 0.0),
    "tritc": (1.0, 0.5, 0.0),
    "texas red": (1.0, 0.0, 0.0),
    "cy5": (1.0, 0.0, 0.0),
    "autofluorescence": (0.35, 0.35, 0.35),
}
"""Display colours of common dyes, by a word in the channel's name."""


class ColourTransform:
    """From the colours of a scanner to sRGB, by its ICC profile.

    Perceptual intent, as OpenSlide's documentation advises for display; LittleCMS does the work.

    Examples
    --------
    >>> from PIL import ImageCms
    >>> profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    >>> same = ColourTransform.from_profile(profile, "a.svs").apply(np.full((2, 2, 3), 77, np.uint8))
    >>> int(same.max())
    77
    """

    def __init__(self, transform: Any) -> None:
        self._transform = transform

    @classmethod
    def from_profile(cls, icc: bytes | None, path: str) -> Self:
        """Make the transform of an embedded profile.

        Raises
        ------
        UsageError
            When the slide has no profile.
        CorruptSlideError
            When it has one that cannot be used.
        """
        from PIL import ImageCms

        if icc is None:
            raise UsageError(f"{path} has no ICC profile", mend="read it with icc=False, as stored")
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        except (OSError, ImageCms.PyCMSError) as error:
            raise CorruptSlideError(
                f"{path}: its ICC profile cannot be used: {error}", mend="icc=False"
            ) from error
        return cls(transform)

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return `rgb` (h, w, 3) in sRGB."""
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(rgb))
        return np.array(self._transform.apply(image))


def channel_colours(names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return a display colour in 0 … 1 per channel, as (channels, 3): by dye, else evenly spread hues.

    Examples
    --------
    >>> channel_colours(("grey",)).tolist()
    [[1.0, 1.0, 1.0]]
    """
    if len(names) == 1:
        return np.array([GREY], np.float32)
    if names == ("R", "G", "B"):
        return np.eye(3, dtype=np.float32)
    hues = [colorsys.hsv_to_rgb(index / len(names), 1.0, 1.0) for index in range(len(names))]
    named = [next((c for dye, c in DYES.items() if dye in name.lower()), None) for name in names]
    return np.array([colour or hue for colour, hue in zip(named, hues, strict=True)], np.float32)


def composite(pixels: NDArray[Any], facts: Facts, display_range: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Show channels as one picture: each stretched over its range, coloured, and added.

    Parameters
    ----------
    pixels
        Array (h, w, c) of the file's dtype.
    facts
        Whose channels name the colours.
    display_range
        Per channel the values shown as black and as full colour, (c, 2).

    Returns
    -------
    Array (h, w, 3) uint8. 8-bit grey pictures are shown as they are, without a stretch.
    """
    if pixels.shape[2] == 1 and pixels.dtype == np.uint8:
        return np.repeat(pixels, 3, axis=2)
    colours = channel_colours(facts.channels) * 255
    total = np.zeros((*pixels.shape[:2], 3), np.float32)
    for index, (low, high) in enumerate(display_range):
        share = np.clip((pixels[..., index].astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
        total += share[..., None] * colours[index]
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)
