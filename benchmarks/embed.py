"""Embedding a slide end to end against the bare model on the same back end.

    python benchmarks/embed.py SLIDE --encoder resnet18 --backend openvino --precision bf16

Is the model ever kept waiting? Both run in this process, in turn, on the same tiles; the bare model is fed
from memory, the other reads, embeds and writes features as `coverslip run embed` does. Weights are random
unless given: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from coverslip import open_slide
from coverslip.models import encoder_card, load_encoder
from coverslip.models.encoder import Encoder, Runtime
from coverslip.pipeline.stages.embed import encoded
from coverslip.tiles import GridSpec, lay, stream
from coverslip.tissue import find_tissue


def random_weights(encoder: str, folder: str) -> str:
    """Save random weights of an encoder's network, and return their path."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = str(Path(folder) / f"{encoder}.safetensors")
    save_file(timm.create_model(encoder_card(encoder).architecture, num_classes=0).state_dict(), path)
    return path


def timed(work: Callable[[], int]) -> tuple[float, int]:
    """Return seconds and what `work` returns."""
    start = time.perf_counter()
    amount = work()
    return time.perf_counter() - start, amount


def end_to_end(encoder: Encoder, slide, tiles, out: Path) -> int:
    """Read, embed and write; return the tiles."""
    count = 0
    with out.open("wb") as file:
        for _, values in encoded(encoder, stream(slide, tiles, batch_size=encoder.runtime.batch, threads=1)):
            file.write(values.tobytes())
            count += len(values)
    return count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slide")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--weights")
    parser.add_argument("--tiles", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    runtime = Runtime(backend=wanted.backend, precision=wanted.precision)
    with tempfile.TemporaryDirectory() as folder, open_slide(wanted.slide) as slide:
        weights = wanted.weights or random_weights(wanted.encoder, folder)
        encoder = load_encoder(wanted.encoder, weights=weights, runtime=runtime)
        tiles = lay(slide, GridSpec(size=runtime.size), find_tissue(slide))
        tiles = tiles.take(np.arange(min(wanted.tiles, len(tiles))))
        held = [batch.pixels.copy() for batch in stream(slide, tiles)]
        bare = lambda: sum(len(part) for part in encoder.stream(held))  # noqa: E731
        whole = lambda: end_to_end(encoder, slide, tiles, Path(folder) / "features")  # noqa: E731
        timed(bare), timed(whole)
        pairs = [(timed(bare)[0], timed(whole)[0]) for _ in range(wanted.rounds)]
    row = {
        "encoder": wanted.encoder,
        "backend": f"{wanted.backend} {wanted.precision}",
        "tiles": len(tiles),
        "bare": len(tiles) / statistics.median(pair[0] for pair in pairs),
        "end_to_end": len(tiles) / statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[0] / pair[1] for pair in pairs),
    }
    print(json.dumps(row) if wanted.json else "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
                                                          for k, v in row.items()))  # fmt: skip


if __name__ == "__main__":
    main()
