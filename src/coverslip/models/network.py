"""Networks as timm builds them, with their weights: from a local file or the hub's cache."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from coverslip.core.errors import MissingExtraError, StoreError, UsageError
from coverslip.models.card import ModelCard

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def build(card: ModelCard, weights: str | None = None, *, cache: Path | None = None) -> torch.nn.Module:
    """Build the network of `card` with its weights, ready to infer.

    Parameters
    ----------
    weights
        A safetensors file of the network's state, named as ours or as published; None takes the card's own:
        those of ``coverslip models fetch``, else of the hub's own cache, else, where the licence asks for
        nothing, from the hub.
    cache
        Folder of what was fetched; see `coverslip.models.fetch.default_cache`.

    Returns
    -------
    A module from normalised float tiles (n, 3, h, w) to features (n, card.dim).

    Raises
    ------
    MissingExtraError
        When torch or timm is not installed.
    StoreError
        When the weights cannot be had.
    UsageError
        When they are not those of this network, or pickled, or Coverslip cannot run this model.
    """
    card.check_available()
    try:
        from coverslip.models.encoder_networks import pooled, trunk
    except ImportError as error:
        raise MissingExtraError.of("torch", "torch") from error
    try:
        network = trunk(card)
    except ImportError as error:
        raise MissingExtraError.of("timm (with torch)", "torch") from error
    _load(network, own_weights(card, cache) if weights is None else Path(weights), card)
    return pooled(network, card).eval().requires_grad_(False)


def own_weights(card: ModelCard, cache: Path | None = None) -> Path:
    """Return where the card's own weights lie: fetched, or in the hub's cache.

    Raises
    ------
    StoreError
        When they are nowhere, or not what was fetched.
    """
    from coverslip.models.fetch import fetched

    found = fetched(card, cache=cache)
    return hub_weights(card) if found is None else found.path


def hub_weights(card: ModelCard) -> Path:
    """Return where the hub's cache holds the weights of `card`; fetch them if their licence asks nothing.

    Raises
    ------
    StoreError
        When they are neither in the cache nor reachable, or must be fetched by a command of their own.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name = next((name for name in card.files if name.endswith(".safetensors")), None)
    if name is not None:
        try:
            return Path(hf_hub_download(card.source, name, local_files_only=True))
        except LocalEntryNotFoundError:
            pass
    if card.restricted or name is None:
        raise StoreError(
            f"the weights of {card.id!r} ({card.licence}) are not here",
            mend=f"read and accept their licence: coverslip models fetch {card.id}",
        )
    try:
        return Path(hf_hub_download(card.source, name))
    except (OSError, HfHubHTTPError) as error:
        raise StoreError(
            f"weights of {card.id!r} ({card.source}) are neither in the hub's cache nor reachable: {error}",
            mend="fetch them once with a network, or give a file: --set embed.weights=FILE.safetensors",
        ) from error


def _load(network: torch.nn.Module, path: Path, card: ModelCard) -> None:
    from coverslip.models.weights_layout import arranged, unwrapped

    state = arranged(unwrapped(read_weights(path)), network, card.layout)
    wanted = network.state_dict()
    wrong = sorted(
        name for name in wanted.keys() | state.keys()
        if name not in wanted or name not in state or wanted[name].shape != state[name].shape
    )  # fmt: skip
    if wrong:
        raise UsageError(
            f"{path} does not hold weights of {card.architecture}: {len(wrong)} tensors differ: {wrong[:3]}",
            mend="give the weights of this architecture without its classifier (timm: num_classes=0)",
        )
    network.load_state_dict(state)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises
    ------
    UsageError
        When it is pickled.
    StoreError
        When it is not there or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path} is no safetensors file; pickled weights can run code and are not loaded",
            mend="save them once with safetensors.torch.save_file(state_dict, 'weights.safetensors')",
        )
    if not path.is_file():
        raise StoreError(f"there are no weights at {path}", mend="check the path")
    try:
        state: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StoreError(
            f"{path} cannot be read as safetensors: {error}", mend="save or copy it anew"
        ) from error
    return state


def file_digest(path: str) -> str:
    """Return the SHA-256 of a weights file, for provenance."""
    try:
        with Path(path).open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"there are no weights at {path}: {error}", mend="check the path") from error


def normalised(network: torch.nn.Module, card: ModelCard) -> torch.nn.Module:
    """Put the card's normalisation before `network`: uint8 (n, h, w, 3) in, features (n, dim) out."""
    import torch

    class Normalised(torch.nn.Module):
        """Scale, shift and permute; in channels-last memory the permutation moves nothing."""

        scale: torch.Tensor
        shift: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            scale = 1 / (255 * torch.tensor(card.std))
            self.register_buffer("scale", scale.view(1, 3, 1, 1))
            self.register_buffer("shift", (-255 * torch.tensor(card.mean) * scale).view(1, 3, 1, 1))
            self.network = network

        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            pixels = tiles.permute(0, 3, 1, 2).to(self.scale.dtype)
            features: torch.Tensor = self.network(torch.addcmul(self.shift, pixels, self.scale))
            return features

    return Normalised().eval()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep off stderr what torch says of its own tracing, which a user can do nothing about."""
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield


def sample_tiles(card: ModelCard, batch: int, size: int | None = None) -> NDArray[np.uint8]:
    """Return random tiles of the shape that `card` takes, to trace and to warm up with."""
    import numpy as np

    side = size or card.tile_px
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
