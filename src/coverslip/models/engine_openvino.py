"""The OpenVINO back end: the fastest known here for CPUs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError
from coverslip.models.network import normalised, quietly, sample_tiles

if TYPE_CHECKING:
    import torch

    from coverslip.models.card import ModelCard
    from coverslip.models.encoder import Engine, Runtime

IN_FLIGHT = 2
"""Batches under way at once: one computed while the next is handed over."""


def engine(network: torch.nn.Module, card: ModelCard, runtime: Runtime) -> Engine:
    """Convert the network with fixed shapes and compile it for the CPU."""
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError.of("openvino", "openvino") from error
    import torch

    sample = torch.from_numpy(sample_tiles(card, runtime.batch, runtime.size))
    with torch.inference_mode(), quietly():
        model = openvino.convert_model(
            normalised(network, card), example_input=sample, input=[tuple(sample.shape)]
        )
    compiled = openvino.Core().compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": runtime.threads,
        "INFERENCE_PRECISION_HINT": {"f32": "f32", "bf16": "bf16"}[runtime.precision],
    })  # fmt: skip
    return OpenVinoEngine(compiled)


class OpenVinoEngine:
    """Asynchronous requests, answered in order."""

    def __init__(self, compiled: Any) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(IN_FLIGHT)]

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """See `coverslip.models.encoder.Engine`."""
        running: deque[tuple[Any, NDArray[np.uint8]]] = deque()
        try:
            for number, batch in enumerate(batches):
                if len(running) == IN_FLIGHT:
                    yield _finish(running.popleft()[0])
                request = self._requests[number % IN_FLIGHT]
                request.start_async({0: batch}, share_inputs=True)
                running.append((request, batch))  # the batch must live as long as the request reads it
            while running:
                yield _finish(running.popleft()[0])
        finally:
            for request, _ in running:
                request.wait()


def _finish(request: Any) -> NDArray[np.float32]:
    request.wait()
    return np.array(request.get_output_tensor(0).data, dtype=np.float32)
