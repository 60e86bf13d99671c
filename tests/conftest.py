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


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of random ResNet-18 weights: small, and no hub is needed."""
    timm = pytest.importorskip("timm", reason='timm is not installed: pip install "coverslip[torch]"')
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(timm.create_model("resnet18", num_classes=0).state_dict(), path)
    return str(path)
