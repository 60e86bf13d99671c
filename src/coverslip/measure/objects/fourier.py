"""Fourier series of outlines, exact for polygons, and what follows from them.

An outline z(t) = x + iy, run through at constant speed, is a sum of c_k · exp(2πikt). The integrals of the
coefficients are taken edge by edge (as Kuhl & Giardina 1982 do for x and y apart), so nothing is resampled.
c_1 is the circle, c_-1 makes it an ellipse, the others bend it; their sizes do not depend on where the object
lies, how it is turned, or where the outline starts (Granlund 1972).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.objects.rings import Floats, Rings

Waves = NDArray[np.complex128]

POINTS = 64
"""Places on the outline where the curvature is taken."""


def harmonics_of(outlines: Rings, count: int) -> tuple[Waves, Waves]:
    """Return c_1 … c_count and c_-1 … c_-count of outlines, each of shape (n, count).

    Turned so that all outlines run from x towards y.

    Parameters
    ----------
    outlines
        One ring per object.
    """
    steps = outlines.following - outlines.xy
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    total = outlines.by_ring(lengths)
    ring = np.repeat(np.arange(len(outlines.starts)), outlines.lengths)
    run = np.cumsum(lengths)
    before = run - lengths - (run[outlines.starts] - lengths[outlines.starts])[ring]
    heading = np.divide(
        steps[:, 0] + 1j * steps[:, 1], lengths, out=np.zeros(len(steps), complex), where=lengths > 0
    )
    begin = np.exp(-2j * np.pi * before / total[ring])
    end = np.exp(-2j * np.pi * (before + lengths) / total[ring])
    forward = np.empty((len(total), count), complex)
    backward = np.empty_like(forward)
    at, to = np.ones_like(begin), np.ones_like(end)
    for k in range(1, count + 1):
        at, to = at * begin, to * end
        scale = total / (2 * np.pi * k) ** 2
        forward[:, k - 1] = outlines.by_ring(heading * (to - at)) * scale
        backward[:, k - 1] = outlines.by_ring(heading * (to - at).conj()) * scale
    turned = outlines.areas() < 0
    forward[turned], backward[turned] = backward[turned], forward[turned].copy()
    return forward, backward


def descriptors(forward: Waves, backward: Waves) -> Floats:
    """Return the Fourier descriptors, shape (count, n): 0 for a circle, the same at any size, place, turn.

    The first is |c_-1| / |c_1|, which for an ellipse is near (a − b) / (a + b); the k-th is
    √(|c_k|² + |c_-k|²) / |c_1|.
    """
    size = np.abs(forward[:, 0])
    both = np.sqrt(np.abs(forward) ** 2 + np.abs(backward) ** 2)
    both[:, 0] = np.abs(backward[:, 0])
    return np.asarray((both / size[:, None]).T)


def curvatures(forward: Waves, backward: Waves) -> tuple[Floats, Floats, Floats]:
    """Return mean and standard deviation of the absolute curvature, and the share of it that is inwards.

    Of the outline as the harmonics draw it, which smooths away the corners of pixels and of polygons; the
    higher harmonics are damped (Lanczos), so that straight sides hardly ripple. Mean and deviation are along
    the outline, per pixel. The share is 0 for a convex outline and near ½ for a very jagged one.
    """
    count = forward.shape[1]
    k = np.arange(1, count + 1)
    damped = np.sinc(k / (count + 1)) / np.sinc(1 / (count + 1))
    phase = np.exp(2j * np.pi * np.outer(k, np.arange(POINTS) / POINTS))
    turn = 2j * np.pi * (k * damped)[:, None] * phase
    twice = (2j * np.pi * k[:, None]) * turn
    speed = forward @ turn + backward @ turn.conj()
    force = forward @ twice + backward @ twice.conj()
    pace = np.abs(speed)
    bend = (speed.conj() * force).imag / np.maximum(pace, 1e-12 * pace.max(1, keepdims=True)) ** 3
    weight = pace / pace.sum(1, keepdims=True)
    size = np.abs(bend)
    mean = (size * weight).sum(1)
    spread = np.sqrt(((size - mean[:, None]) ** 2 * weight).sum(1))
    return mean, spread, (np.maximum(-bend, 0) * weight).sum(1) / mean
