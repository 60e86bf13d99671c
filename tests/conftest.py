"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real slides and tables; tests that need it are skipped where it is not."""
    folder = os.environ.get("COVERSLIP_TEST_DATA")
    if not folder:
        pytest.skip("real data are not here: set COVERSLIP_TEST_DATA to their folder")
    path = Path(folder)
    if not (path / "slides").is_dir():
        pytest.skip(f"COVERSLIP_TEST_DATA={folder} holds no folder 'slides'")
    return path
