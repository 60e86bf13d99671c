"""Train the nuclei network: one loop, resumable, the same for the same seed and number of threads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from coverslip.core.errors import UsageError
from coverslip.learn.nuclei.augment import Picture
from coverslip.learn.nuclei.batches import SHARES, batch
from coverslip.learn.nuclei.losses import loss
from coverslip.models.nuclei.network import NucleiNetwork


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes
    ----------
    steps
        Batches in all.
    count, size
        Crops in a batch, and pixels of a side.
    rate
        The learning rate, reached after `warm` steps, kept, and over the last `decay` of the steps lowered
        to nothing (by a square root, as such endings go best).
    weight_decay
        Of AdamW.
    average
        How much of the running mean of the weights a step keeps; the mean is what is shipped.
    seed
        Of the first weights and of every batch.
    every
        Steps between checkpoints.
    shares
        How often a crop is of each kind of picture.
    """

    steps: int = 4000
    count: int = 8
    size: int = 192
    rate: float = 1.5e-3
    warm: int = 100
    decay: float = 0.35
    weight_decay: float = 0.02
    average: float = 0.998
    seed: int = 0
    every: int = 25
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))

    def factor(self, step: int) -> float:
        """Return the share of the rate at `step`."""
        if step < self.warm:
            return (step + 1) / self.warm
        left = (self.steps - step) / (self.decay * self.steps)
        return 1 - (1 - left) ** 0.5 if left < 1 else 1.0


def train(
    pictures: Sequence[Picture],
    schedule: Schedule,
    folder: Path,
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Train from the start, or from the checkpoint in `folder`; return the mean weights.

    Parameters
    ----------
    weights
        To begin with, in place of random ones: those of an earlier training.

    Raises
    ------
    UsageError
        When there are no pictures, or the loss is no number.
    """
    if not pictures:
        raise UsageError("there are no pictures to train on")
    torch.manual_seed(schedule.seed)
    network = NucleiNetwork().to(memory_format=torch.channels_last).train()
    if weights is not None:
        network.load_state_dict(dict(weights))
    optimiser = torch.optim.AdamW(_groups(network, schedule.weight_decay), lr=schedule.rate, fused=True)
    mean = {name: value.detach().clone() for name, value in network.state_dict().items()}
    start = _resume(folder, network, optimiser, mean)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schedule.json").write_text(json.dumps(asdict(schedule), indent=1))
    for step in range(start, schedule.steps):
        begin = time.perf_counter()
        parts = _step(network, optimiser, pictures, schedule, step)
        _average(mean, network, min(schedule.average, (1 + step) / (10 + step)))
        _log(folder, step, parts, time.perf_counter() - begin)
        if (step + 1) % schedule.every == 0 or step + 1 == schedule.steps:
            _save(folder, step + 1, network, optimiser, mean)
    return mean


def _groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay the kernels only, not the shifts and scales."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _step(
    network: NucleiNetwork,
    optimiser: torch.optim.Optimizer,
    pictures: Sequence[Picture],
    schedule: Schedule,
    step: int,
) -> dict[str, float]:
    how = {"seed": schedule.seed, "step": step, "shares": schedule.shares}
    pixels, truth = batch(pictures, schedule.count, schedule.size, **how)
    for group in optimiser.param_groups:
        group["lr"] = schedule.rate * schedule.factor(step)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(pixels)
    parts = loss(outputs, truth)
    total = torch.stack(list(parts.values())).sum()
    if not torch.isfinite(total):
        raise UsageError(
            f"the loss is no number at step {step}", mend="lower the rate, or begin from a checkpoint"
        )
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return {name: float(value.detach()) for name, value in parts.items()}


@torch.no_grad()
def _average(mean: dict[str, torch.Tensor], network: torch.nn.Module, keep: float) -> None:
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            mean[name].lerp_(value, 1 - keep)
        else:
            mean[name].copy_(value)


def _log(folder: Path, step: int, parts: dict[str, float], seconds: float) -> None:
    line = {"step": step, "seconds": round(seconds, 3)} | {k: round(v, 4) for k, v in parts.items()}
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _save(
    folder: Path,
    step: int,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    mean: dict[str, torch.Tensor],
) -> None:
    state = {"step": step, "network": network.state_dict(), "optimiser": optimiser.state_dict(), "mean": mean}
    new = folder / "checkpoint.new"
    torch.save(state, new)
    new.rename(folder / "checkpoint.pt")


def _resume(
    folder: Path,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    mean: dict[str, torch.Tensor],
) -> int:
    path = folder / "checkpoint.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    mean.update(state["mean"])
    return int(state["step"])
