"""Focus: how much of the contrast of coarse structures the fine ones still have."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FINE_UM = 1.0
"""Structures finer than this standard deviation (a Gaussian's, in µm) are the fine ones."""

COARSE_UM = 2.5
"""Structures between `FINE_UM` and this are the coarse ones."""

LEAST = 2.0
"""Variance of the coarse structures, in grey levels², under which there is nothing to judge focus by."""


def contrast(rgb: NDArray[np.uint8], um: float, cell: int) -> NDArray[np.float32]:
    """Return the variance of fine and of coarse structures in square cells.

    Defocus takes contrast from fine structures before coarse ones. Their ratio is free of how strongly a
    place is stained, unlike the variance of the Laplacian (Pech-Pacheco 2000), which calls pale stroma
    blurred; it is the difference-of-Gaussians form of the spectral slope measures reviewed by Pertuz
    (2013). Luminance is used: JPEG keeps it at full resolution.

    Parameters
    ----------
    rgb
        Array (h, w, 3), h and w multiples of `cell`.
    um
        Microns per pixel, about 1.
    cell
        Pixels along a cell.

    Returns
    -------
    Array (2, h / cell, w / cell): fine, coarse; grey levels squared.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    near = cv2.GaussianBlur(grey, (0, 0), FINE_UM / um, borderType=cv2.BORDER_REFLECT_101)
    far = cv2.GaussianBlur(near, (0, 0), (COARSE_UM**2 - FINE_UM**2) ** 0.5 / um)
    cv2.subtract(grey, near, dst=grey)
    cv2.subtract(near, far, dst=near)
    size = (rgb.shape[1] // cell, rgb.shape[0] // cell)
    squares = (cv2.resize(cv2.multiply(v, v), size, interpolation=cv2.INTER_AREA) for v in (grey, near))
    return np.stack([square.reshape(size[1], size[0]) for square in squares])


def focus(fine: NDArray[np.float32], coarse: NDArray[np.float32], noise: float = 0.0) -> NDArray[np.float32]:
    """Return the focus: fine as a share of coarse contrast, camera noise taken off; NaN where there is none.

    Examples
    --------
    >>> focus(np.float32([64.0, 4.0]), np.float32([100.0, 0.1])).tolist()
    [0.800000011920929, nan]
    """
    ratio = np.sqrt(np.maximum(fine - noise, 0) / np.maximum(coarse, 1e-6))
    return np.where(coarse >= LEAST, ratio, np.float32(np.nan)).astype(np.float32)


def typical(values: NDArray[np.float32], parts: int) -> NDArray[np.float32]:
    """Return the median of each square of ``parts × parts`` values, NaN left out.

    So one sharp edge does not outvote blur.

    Examples
    --------
    >>> typical(np.float32([[1, 2, 7, 7], [4, np.nan, 8, 9]]), 2).tolist()
    [[2.0, 7.5]]
    """
    squares = np.sort(_squares(values, parts), axis=2)  # NaN comes last
    count = np.isfinite(squares).sum(axis=2)[..., None]
    low = np.take_along_axis(squares, np.maximum(count - 1, 0) // 2, axis=2)
    high = np.take_along_axis(squares, np.minimum(count // 2, parts * parts - 1), axis=2)
    return ((low + high) / 2)[..., 0].astype(np.float32)


def share_below(values: NDArray[np.float32], limit: float, parts: int) -> NDArray[np.float32]:
    """Return the share of values below a limit in each square, NaN left out; 0 where all are NaN.

    Examples
    --------
    >>> share_below(np.float32([[1, 2, 7, 7], [4, np.nan, 8, 9]]), 4, 2).round(2).tolist()
    [[0.6700000166893005, 0.0]]
    """
    squares = _squares(values, parts)
    count = np.isfinite(squares).sum(axis=2)
    below = (squares < limit).sum(axis=2)
    return np.asarray(below / np.maximum(count, 1), np.float32)


def _squares(values: NDArray[np.float32], parts: int) -> NDArray[np.float32]:
    rows, columns = values.shape[0] // parts, values.shape[1] // parts
    split = values.reshape(rows, parts, columns, parts).swapaxes(1, 2)
    return np.asarray(split.reshape(rows, columns, parts * parts))


def clipped(rgb: NDArray[np.uint8], white: bool) -> NDArray[np.bool_]:
    """Find pixels where the camera ran out of range: all channels black, or all white where glass is not."""
    low, high = cv2.inRange(rgb, (0, 0, 0), (1, 1, 1)), cv2.inRange(rgb, (254, 254, 254), (255, 255, 255))
    return np.asarray(cv2.bitwise_or(low, high) if white else low) > 0
