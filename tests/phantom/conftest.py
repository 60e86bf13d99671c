"""Phantoms shared by the tests of this room."""

from __future__ import annotations

import pytest

from coverslip.phantom import KINDS, Phantom, PhantomSpec, make


@pytest.fixture(scope="session")
def clean() -> Phantom:
    """A phantom without artefacts, noise or uneven light."""
    spec = PhantomSpec(
        width=2200, height=1700, tissue_share=0.45, fatty=0.1, glandular=0.9, noise=0, illumination=0
    )
    return make(spec, 5)


@pytest.fixture(scope="session")
def marred() -> Phantom:
    """A phantom with every kind of artefact."""
    return make(
        PhantomSpec(width=2300, height=1700, tissue_share=0.5, artefacts=tuple((k, 1) for k in KINDS)), 11
    )
