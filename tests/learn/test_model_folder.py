"""Model folders: what is saved is loaded, anything else is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coverslip.core.errors import StoreError, UsageError
from coverslip.models.folder import FolderCard, ModelFolder, is_model_folder

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')

CARD = FolderCard(
    id="m", task="classify/tiles", architecture="linear", classes=("a", "b"), mpp=0.5, tile_px=64
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    ModelFolder.save(tmp_path / "m", torch.nn.Linear(3, 2).state_dict(), CARD)
    return tmp_path / "m"


def test_round_trip(folder: Path) -> None:
    model = ModelFolder.load(folder)
    assert (model.card.classes, model.card.mpp, is_model_folder(folder)) == (("a", "b"), 0.5, True)
    network = model.into(torch.nn.Linear(3, 2))
    torch.manual_seed(0)
    assert torch.equal(network.weight, torch.nn.Linear(3, 2).weight)
    assert model.digest == json.loads((folder / "card.json").read_text())["weights_sha256"]


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="2 tensors differ"):
        ModelFolder.load(folder).into(torch.nn.Linear(3, 4))


def test_other_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    other = ModelFolder.save(tmp_path / "n", torch.nn.Linear(3, 2).state_dict(), CARD)
    (other.path / "weights.safetensors").replace(folder / "weights.safetensors")
    with pytest.raises(StoreError, match="other weights lie there"):
        ModelFolder.load(folder)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "weights.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "weights.pt")
    with pytest.raises(UsageError, match="pickled"):
        ModelFolder.load(folder)
    torch.save({}, tmp_path / "model.pth")
    with pytest.raises(UsageError, match="pickled"):
        ModelFolder.load(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"type": "x"}',
        '{"type": "coverslip model", "version": 9}',
        '{"type": "coverslip model", "version": 1}',
    ],
)
def test_damaged_cards_are_refused(folder: Path, text: str) -> None:
    (folder / "card.json").write_text(text)
    with pytest.raises(StoreError):
        ModelFolder.load(folder)


def test_a_folder_without_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"card\.json is missing"):
        ModelFolder.load(tmp_path)
