"""Varied slides for benchmarks: what a laboratory's week brings, one slide per seed."""

from __future__ import annotations

import numpy as np

from coverslip.phantom.noise import key_of, uniforms
from coverslip.phantom.spec import PhantomSpec

TYPES = ("resection", "sections", "biopsies", "fatty", "faint", "marked")
"""Types of slide that `varied` turns through."""


def varied(seed: int, *, quality: bool = False) -> PhantomSpec:
    """Return the spec of one of many unlike slides.

    Parameters
    ----------
    seed
        Seeds in a row turn through `TYPES`: broad resections, several sections, small biopsies, fatty,
        faint, and slides covered with pen. Resolution, glass, stain, noise and artefacts vary with it.
    quality
        True for slides to try quality control on: each has blur, pen, fold and bubble on well-stained tissue.

    Examples
    --------
    >>> varied(2).shape, varied(4).faint > 0.4, varied(0) == varied(0)
    ('biopsy', True, True)
    """
    u = uniforms(key_of(seed, "varied"), np.array([0]), np.array([0]), 24)[:, 0].tolist()
    kind = "resection" if quality else TYPES[seed % len(TYPES)]
    biopsy, faint, fatty = kind == "biopsies", kind == "faint", kind == "fatty"
    side = round(4000 + 3000 * u[0])
    warm = 2 + 5 * u[3]
    glass = 236 + 12 * u[2]
    return PhantomSpec(
        width=side,
        height=round(side * (0.6 + 0.5 * u[1])),
        mpp=(0.5, 0.5, 0.25, 1.0)[int(4 * u[4])],
        tissue_share=0.06 + 0.08 * u[5] if biopsy else 0.2 + 0.3 * u[5],
        n_sections=2 + int(4 * u[6]) if biopsy or kind == "sections" else 1,
        shape="biopsy" if biopsy else "resection",
        holes=0.0 if biopsy else 3 * u[7],
        tumour_share=0.6 * u[8],
        fatty=0.35 + 0.4 * u[9] if fatty else 0.15 * u[9],
        glandular=u[10],
        faint=0.45 + 0.25 * u[11] if faint else 0.25 * u[11],
        artefacts=_artefacts(kind, u[12:], quality),
        glass=(glass, glass - warm * 0.3, glass - warm),
        noise=0.6 + 1.4 * u[22],
        illumination=0.03 * u[23],
    )


def _artefacts(kind: str, u: list[float], quality: bool) -> tuple[tuple[str, int], ...]:
    if quality:
        counts = {"blur": 1 + int(2 * u[0]), "pen": 1 + int(2 * u[1]), "fold": 1 + int(2 * u[2]), "bubble": 1}
        counts |= {"over_stained": int(2 * u[3]), "under_stained": int(2 * u[4]), "dust": int(8 * u[5])}
    else:
        counts = {
            "pen": 1 + int(4 * u[1]) if kind == "marked" else int(1.4 * u[1]),
            "dust": int(20 * u[5] ** 2),
        }
        counts |= {"bubble": int(1.3 * u[3]), "blur": int(1.3 * u[0]), "fold": int(1.6 * u[2])}
        counts |= {"coverslip_edge": int(1.5 * u[6])}
    return tuple((name, count) for name, count in counts.items() if count)
