"""Encoders: tiles in, features out, on the back end that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.models.card import ModelCard
from coverslip.models.encoders import encoder_card

if TYPE_CHECKING:
    import torch

BACKENDS: dict[str, str] = {
    "torch": "coverslip.models.engine_torch:eager",
    "torch-compile": "coverslip.models.engine_torch:compiled",
    "openvino": "coverslip.models.engine_openvino:engine",
    "onnx": "coverslip.models.engine_onnx:engine",
}
"""Name → the function that makes an engine; nothing is imported before it is asked for."""

REQUIRED: dict[str, tuple[tuple[str, ...], str]] = {
    "torch": (("torch", "timm", "safetensors"), "torch"),
    "torch-compile": (("torch", "timm", "safetensors"), "torch"),
    "openvino": (("torch", "timm", "safetensors", "openvino"), "openvino"),
    "onnx": (("torch", "timm", "safetensors", "onnxruntime", "onnxscript"), "onnx"),
}
"""Back end → the packages it needs, and the extra that brings them."""

PRECISIONS = ("f32", "bf16")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where and how a network runs; each choice is the user's and is recorded with the features.

    Attributes
    ----------
    backend
        ``"torch"``, ``"torch-compile"``, ``"openvino"`` or ``"onnx"``.
    precision
        ``"f32"``, or ``"bf16"`` for bfloat16 arithmetic where the back end has it.
    device
        ``"cpu"`` or ``"cuda"`` (torch back ends).
    threads
        CPU threads of the network.
    batch, size
        Tiles in a batch and their side in pixels; shapes are fixed so that compilers can use them.
    """

    backend: str = "torch"
    precision: Literal["f32", "bf16"] = "f32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 2
    batch: int = 64
    size: int = 224

    def require_packages(self) -> None:
        """Check that the back end is installed; nothing is imported.

        Raises
        ------
        MissingExtraError
            With the line that installs it.
        """
        packages, extra = REQUIRED[self.backend]
        missing = [name for name in packages if find_spec(name) is None]
        if missing:
            raise MissingExtraError.of(", ".join(missing), extra)

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("backend", self.backend, BACKENDS),
            ("precision", self.precision, PRECISIONS),
            ("device", self.device, DEVICES),
        ):
            if value not in known:
                raise unknown(kind, value, known)
        for name in ("threads", "batch", "size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} cannot be: expected 1 or more")
        if self.device == "cuda" and not self.backend.startswith("torch"):
            raise UsageError(
                f"backend {self.backend!r} runs on the CPU here", mend="use --backend torch for a GPU"
            )


class Engine(Protocol):
    """A network made ready by a back end."""

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Turn full batches (batch, size, size, 3) into features (batch, dim), in order.

        It may take the next batches before it gives back the first, to keep the processor busy.
        """
        ...


class Encoder:
    """Tile → vector.

    Parameters
    ----------
    card
        What the network is.
    network
        The network of `coverslip.models.network.build`.
    runtime
        Where and how it runs.
    """

    def __init__(self, card: ModelCard, network: torch.nn.Module, runtime: Runtime) -> None:
        card.check_tiles(runtime.size)
        self.card, self.runtime = card, runtime
        module, function = BACKENDS[runtime.backend].split(":")
        self._engine: Engine = getattr(import_module(module), function)(network, card, runtime)

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features (n, dim) of tiles (n, size, size, 3)."""
        step = self.runtime.batch
        parts = self.stream(tiles[start : start + step] for start in range(0, len(tiles), step))
        empty = np.empty((0, self.card.dim), np.float32)
        return np.concatenate([empty, *parts])

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Turn batches of at most `runtime.batch` tiles into their features, in order.

        A short batch is padded for the network and its padding cut off again.
        """
        lengths: list[int] = []

        def full() -> Iterator[NDArray[Any]]:
            for batch in batches:
                lengths.append(len(batch))
                yield self._full(batch)

        for done, features in enumerate(self._engine.stream(full())):
            yield features[: lengths[done]]

    def _full(self, batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        expected = (self.runtime.batch, self.runtime.size, self.runtime.size, 3)
        if batch.shape[1:] != expected[1:] or not 0 < len(batch) <= expected[0] or batch.dtype != np.uint8:
            raise UsageError(
                f"expected uint8 tiles of shape {expected} or fewer, got {batch.dtype} {batch.shape}"
            )
        if len(batch) == expected[0]:
            return batch
        whole = np.zeros(expected, np.uint8)
        whole[: len(batch)] = batch
        return whole


def load_encoder(name: str, *, weights: str | None = None, runtime: Runtime | None = None) -> Encoder:
    """Load an encoder by name.

    Parameters
    ----------
    name
        A name of `coverslip.models.ENCODERS`.
    weights
        A safetensors file; None takes the card's own from the hub or its cache.
    runtime
        Where and how it runs; torch in float32 on the CPU by default.

    Raises
    ------
    UnknownNameError, MissingExtraError, StoreError, UsageError
        See `coverslip.models.network.build`.
    """
    from coverslip.models.network import build

    card = encoder_card(name)
    runtime = runtime or Runtime(size=card.tile_px)
    card.check_tiles(runtime.size)
    return Encoder(card, build(card, weights), runtime)
