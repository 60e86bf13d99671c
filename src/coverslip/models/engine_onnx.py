"""The ONNX Runtime back end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.models.network import normalised, quietly, sample_tiles

if TYPE_CHECKING:
    import torch

    from coverslip.models.card import ModelCard
    from coverslip.models.encoder import Engine, Runtime


def engine(network: torch.nn.Module, card: ModelCard, runtime: Runtime) -> Engine:
    """Export the network with fixed shapes and open it in ONNX Runtime."""
    if runtime.precision != "f32":
        raise UsageError("ONNX Runtime computes in f32 on the CPU", mend="use --backend openvino for bf16")
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx.export needs it and says so less clearly
    except ImportError as error:
        raise MissingExtraError.of("onnxruntime (with onnxscript)", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads
    session = onnxruntime.InferenceSession(
        _export(normalised(network, card), card, runtime), options, providers=["CPUExecutionProvider"]
    )
    return OnnxEngine(session)


def _export(module: torch.nn.Module, card: ModelCard, runtime: Runtime) -> bytes:
    import torch

    sample = torch.from_numpy(sample_tiles(card, runtime.batch, runtime.size))
    with quietly():
        program: Any = torch.onnx.export(module, (sample,), dynamo=True, verbose=False)
    model: bytes = program.model_proto.SerializeToString()
    return model


class OnnxEngine:
    """One batch after the other."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """See `coverslip.models.encoder.Engine`."""
        for batch in batches:
            yield self._session.run(None, {self._input: batch})[0]
