"""Reinhard et al., Color transfer between images, IEEE CG&A 21(5):34-41 (2001).

Mean and spread of lightness and both colour axes are moved to the target's. As usual in pathology this is
done in CIELAB (D65) rather than in the authors' lαβ. Glass moves along with the tissue: it may take a tint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import StainError
from coverslip.stain.chain import Chain, as_step, wide
from coverslip.stain.density import WHITE, Background, as_background
from coverslip.stain.matrices import Vector
from coverslip.stain.sample import stained_pixels

RGB_TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
"""Linear sRGB to CIE XYZ."""

F_TO_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
"""Cube roots of XYZ to (lightness + 16, a, b)."""

F_SCALE = 32768
"""16-bit steps for a cube root of 1: those of white; up to 2 fit."""

LINEAR_SCALE = 32768
"""16-bit steps for linear light of 1."""


@dataclass(frozen=True, slots=True)
class LabStatistics:
    """Mean and standard deviation of lightness (0 … 100), a and b over the tissue of a slide.

    Raises
    ------
    StainError
        When a number is not finite or a spread is negative.
    """

    mean: Vector
    sd: Vector
    background: Vector = (WHITE, WHITE, WHITE)

    def __post_init__(self) -> None:
        numbers = np.array([self.mean, self.sd], dtype=np.float64)
        if numbers.shape != (2, 3) or not np.all(np.isfinite(numbers)) or numbers[1].min() < 0:
            raise StainError(
                f"colour statistics {numbers.tolist()}: expected 3 finite means and 3 spreads from 0"
            )
        object.__setattr__(self, "background", as_background(self.background))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"mean": list(self.mean), "sd": list(self.sd), "background": list(self.background)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabStatistics:
        """Rebuild from `to_dict`; raises `StainError` when a value is missing or of the wrong kind."""
        try:
            return cls(_three(values["mean"]), _three(values["sd"]), _three(values["background"]))
        except StainError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise StainError(
                f"these are no colour statistics: {error!r}", mend="fit the slide again"
            ) from error

    def to_json(self) -> str:
        """Return the statistics as JSON text."""
        return json.dumps(self.to_dict(), indent=2)


def fit_reinhard(pixels: NDArray[np.uint8], background: Background = WHITE) -> LabStatistics:
    """Measure mean and spread of CIELAB over the stained pixels of a slide.

    Parameters
    ----------
    pixels
        uint8 (…, 3) from the tissue of the whole slide; glass is dropped.
    background
        Intensity of empty glass.

    Raises
    ------
    StainError
        When fewer than 500 pixels show stain.
    """
    lab = to_lab(stained_pixels(pixels, background))
    return LabStatistics(_three(lab.mean(axis=0)), _three(lab.std(axis=0)), as_background(background))


def transfer_colours(source: LabStatistics, target: LabStatistics) -> Chain:
    """Return the map that gives the source's pixels the target's mean and spread.

    In cube roots of XYZ the shift and scale of lightness, a and b is one matrix with an offset; the rest are
    tables and the matrices to XYZ and back.
    """
    ratio = np.array(target.sd) / np.maximum(source.sd, 1e-3)
    shift = np.array(target.mean) - ratio * np.array(source.mean)
    to_lab_matrix, lightness = F_TO_LAB, np.array([16.0, 0, 0])
    back = np.linalg.inv(F_TO_LAB)
    mix = back @ np.diag(ratio) @ to_lab_matrix
    offset = back @ (shift + lightness - ratio * lightness)
    white = RGB_TO_XYZ.sum(axis=1)
    to_xyz = RGB_TO_XYZ / white[:, None] * (65535 / LINEAR_SCALE)
    move = np.hstack([mix, offset[:, None] * F_SCALE])
    steps = (
        wide(_linear(np.arange(256) / 255), LINEAR_SCALE),
        as_step(to_xyz),
        wide(_cube_root(np.arange(65536) / 65535), F_SCALE),
        as_step(move),
        wide(_cube(np.arange(65536) / F_SCALE), LINEAR_SCALE),
        as_step(np.linalg.inv(RGB_TO_XYZ / white[:, None])),
        wide(_gamma(np.arange(65536) / LINEAR_SCALE), 255).clip(0, 255).astype(np.uint8),
    )
    return Chain(steps)


def to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return CIELAB (D65) of uint8 (n, 3): lightness 0 … 100, a and b about −128 … 127."""
    import cv2

    image = np.ascontiguousarray(rgb.reshape(1, -1, 3)).astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2Lab), np.float32).reshape(-1, 3)


def _linear(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)


def _gamma(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(value > 0.0031308, 1.055 * np.maximum(value, 1e-9) ** (1 / 2.4) - 0.055, value * 12.92)


def _cube_root(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(value > 0.008856, np.cbrt(value), 7.787 * value + 16 / 116)


def _cube(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(value > 0.2068966, value**3, np.maximum(value - 16 / 116, 0) / 7.787)


def _three(values: ArrayLike) -> Vector:
    red, green, blue = np.asarray(values, dtype=np.float64).tolist()
    return red, green, blue
