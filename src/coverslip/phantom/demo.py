"""Small phantom slides for demonstrations and tests."""

from __future__ import annotations

import os
from pathlib import Path

from coverslip.phantom.phantom import make
from coverslip.phantom.spec import KINDS, PhantomSpec
from coverslip.phantom.write import write_slide

DEMO = PhantomSpec(
    width=3000,
    height=2400,
    tissue_share=0.45,
    fatty=0.08,
    artefacts=tuple((kind, 1) for kind in KINDS),
)
"""A small slide with every kind of artefact."""

SEED = 7


def write_demo_slide(path: str | os.PathLike[str]) -> Path:
    """Write the small slide `DEMO` and return its path; the same pixels every time.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_demo_slide(Path(folder) / "demo.svs").stat().st_size > 100_000
    True
    """
    return write_slide(make(DEMO, SEED), path)


DEMO_SET = {
    "resection": (DEMO, SEED),
    "biopsies": (
        PhantomSpec(
            width=4000,
            height=2400,
            tissue_share=0.14,
            n_sections=3,
            shape="biopsy",
            holes=0,
            artefacts=(("dust", 6),),
        ),
        21,
    ),
    "fatty": (
        PhantomSpec(
            width=3000,
            height=3000,
            tissue_share=0.4,
            fatty=0.5,
            tumour_share=0.1,
            artefacts=(("pen", 2), ("bubble", 1)),
        ),
        33,
    ),
    "faint": (
        PhantomSpec(
            width=3000,
            height=2400,
            tissue_share=0.35,
            n_sections=2,
            faint=0.6,
            artefacts=(("blur", 1), ("fold", 1)),
        ),
        45,
    ),
}
"""Slides of ``make demo``: specs and seeds by name."""


def write_demo_set(folder: str | os.PathLike[str]) -> list[Path]:
    """Write the slides of `DEMO_SET` into a folder, each with its truth as ``<name>.truth.json``."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (spec, seed) in DEMO_SET.items():
        phantom = make(spec, seed)
        paths.append(write_slide(phantom, target / f"{name}.svs"))
        phantom.truth.save(target / f"{name}.truth.json")
    return paths
