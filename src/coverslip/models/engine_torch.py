"""The torch back ends: eager and compiled, on CPU or CUDA."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.models.network import normalised

if TYPE_CHECKING:
    from coverslip.models.card import ModelCard
    from coverslip.models.encoder import Engine, Runtime

Forward = Callable[[torch.Tensor], torch.Tensor]


def eager(network: torch.nn.Module, card: ModelCard, runtime: Runtime) -> Engine:
    """Run the network as it is."""
    return _engine(normalised(network, card), runtime)


def compiled(network: torch.nn.Module, card: ModelCard, runtime: Runtime) -> Engine:
    """Run the network through ``torch.compile``; the first batch pays for it.

    Raises
    ------
    MissingExtraError
        When there is no C++ compiler for the CPU's code.
    """
    if runtime.device == "cpu" and not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise MissingExtraError(
            "torch.compile needs a C++ compiler", mend="apt-get install g++, or --backend openvino"
        )
    return _engine(normalised(network, card), runtime, torch.compile)


def _engine(module: torch.nn.Module, runtime: Runtime, wrap: Callable[..., Forward] | None = None) -> Engine:
    dtype = torch.bfloat16 if runtime.precision == "bf16" else torch.float32
    if runtime.device == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(
                "this torch sees no CUDA device", mend="use --device cpu, or install torch for your GPU"
            )
        module = module.to("cuda").to(memory_format=torch.channels_last)
        return CudaEngine(wrap(module) if wrap else module, runtime, dtype)
    module = module.to(dtype).to(memory_format=torch.channels_last)
    return CpuEngine(wrap(module) if wrap else module, runtime)


class CpuEngine:
    """One batch after the other on the CPU's threads."""

    def __init__(self, forward: Forward, runtime: Runtime) -> None:
        self._forward, self._threads = forward, runtime.threads

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """See `coverslip.models.encoder.Engine`."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            for batch in batches:
                with torch.inference_mode():
                    features = self._forward(torch.from_numpy(batch)).float().numpy()
                yield features
        finally:
            torch.set_num_threads(before)


class CudaEngine:
    """Copies and computes at once: two pinned buffers, one stream to copy and one to compute.

    While batch ``i`` is computed, batch ``i + 1`` is on its way to the device and ``i + 2`` is being decoded.
    """

    def __init__(self, forward: Forward, runtime: Runtime, dtype: torch.dtype) -> None:
        shape = (runtime.batch, runtime.size, runtime.size, 3)
        self._forward, self._dtype = forward, dtype
        self._pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        self._device = [torch.empty(shape, dtype=torch.uint8, device="cuda") for _ in range(2)]
        self._copying = torch.cuda.Stream()
        self._copied = [torch.cuda.Event() for _ in range(2)]
        self._computed = [torch.cuda.Event() for _ in range(2)]

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """See `coverslip.models.encoder.Engine`."""
        waiting: tuple[torch.Tensor, torch.cuda.Event] | None = None
        for number, batch in enumerate(batches):
            current = self._launch(number % 2, batch)
            if waiting is not None:
                yield _arrived(*waiting)
            waiting = current
        if waiting is not None:
            yield _arrived(*waiting)

    def _launch(self, slot: int, batch: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.cuda.Event]:
        """Send a batch and queue its computation; this waits only for a slot still in use."""
        self._copied[slot].synchronize()
        self._pinned[slot].copy_(torch.from_numpy(batch))
        with torch.cuda.stream(self._copying):
            self._copying.wait_event(self._computed[slot])
            self._device[slot].copy_(self._pinned[slot], non_blocking=True)
            self._copied[slot].record(self._copying)
        now = torch.cuda.current_stream()
        now.wait_event(self._copied[slot])
        mixed = self._dtype is not torch.float32
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=mixed):
            features = self._forward(self._device[slot]).float()
        self._computed[slot].record(now)
        host = torch.empty(features.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(features, non_blocking=True)
        done = torch.cuda.Event()
        done.record(now)
        return host, done


def _arrived(host: torch.Tensor, done: torch.cuda.Event) -> NDArray[np.float32]:
    done.synchronize()
    return host.numpy()
