"""The one training loop: PyTorch Lightning, with what every task wants of it.

A fold's folder holds ``last.ckpt`` (to go on after a kill; removed when done), ``best.safetensors`` (the
state of the epoch that validated best), ``history.csv`` (a row per epoch), ``tensorboard/`` and, once the
fold is through, ``fitted.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from coverslip.core.errors import MissingExtraError, StoreError, UsageError
from coverslip.core.files import atomic
from coverslip.learn.told import Listen, silent

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader

LAST, BEST, HISTORY, FITTED = "last.ckpt", "best.safetensors", "history.csv", "fitted.json"

ELSEWHERE = ("device", "devices", "threads", "workers")
"""Fields of `FitSpec` that say where training runs, not what comes out."""


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """How a network is fitted.

    Parameters
    ----------
    epochs
        At most; fewer with `patience`.
    batch_size
        Rows per step and device.
    accumulate
        Steps whose gradients are added up before the weights move.
    lr
        Highest learning rate, or ``"find"``: a range test on the first training fold chooses it.
    schedule
        ``"cosine"`` falls to 0 over all epochs, ``"constant"`` stays; both after `warmup`, a share of
        all steps.
    optimiser
        ``"adamw"`` or ``"sgd"`` (momentum 0.9, Nesterov).
    weight_decay
        Not applied to biases and norms.
    precision
        ``"f32"``, ``"bf16"`` (mixed) or ``"f16"`` (mixed; CUDA only).
    clip
        Largest norm of the gradient; None for any.
    patience
        Epochs without a better `monitor` after which training stops; None never stops early.
    monitor
        What chooses the epoch, as the module logs it on validation rows; ``"-val_auroc"`` is maximised.
    ema
        Decay of the running average of the weights that is validated and kept; None keeps the weights.
    seed
        Of initial weights, order, augmentation.
    deterministic
        Refuse operations whose result varies from run to run on one machine.
    device, devices
        ``"cpu"`` or ``"cuda"``, and how many; several train in step (DDP), each on its share of every epoch's
        rows with `batch_size` rows a step.
    threads, workers
        CPU threads of each process (one, where several processes train on the CPU), and processes that read
        data; 0 reads in the training process.

    Raises
    ------
    UsageError
        When a number cannot be.
    """

    epochs: int = 30
    batch_size: int = 32
    accumulate: int = 1
    lr: float | Literal["find"] = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.05
    optimiser: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.05
    precision: Literal["f32", "bf16", "f16"] = "bf16"
    clip: float | None = 1.0
    patience: int | None = None
    monitor: str = "val_loss"
    ema: float | None = None
    seed: int = 0
    deterministic: bool = True
    device: Literal["cpu", "cuda"] = "cpu"
    devices: int = 1
    threads: int = 2
    workers: int = 0

    def __post_init__(self) -> None:
        least = {
            "epochs": 1,
            "batch_size": 1,
            "accumulate": 1,
            "seed": 0,
            "devices": 1,
            "threads": 1,
            "workers": 0,
        }
        wrong = [
            f"{name} {getattr(self, name)}: expected {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        ranges = {
            "lr": (1e-9, 100),
            "warmup": (0, 0.9),
            "weight_decay": (0, 10),
            "ema": (0, 0.99999),
            "clip": (1e-9, 1e9),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not low <= value <= high:
                wrong.append(f"{name} {value}: expected {low:g} to {high:g}")
        if self.patience is not None and self.patience < 1:
            wrong.append(f"patience {self.patience}: expected 1 or more, or nothing")
        if self.precision == "f16" and self.device == "cpu":
            wrong.append("precision f16 needs device cuda; bf16 works on both")
        if wrong:
            raise UsageError(f"this cannot be fitted: {'; '.join(wrong)}", mend="mend these")

    @property
    def what(self) -> dict[str, Any]:
        """All fields that can change the result, as JSON types."""
        return {name: value for name, value in asdict(self).items() if name not in ELSEWHERE}


@dataclass(frozen=True)
class Fitted:
    """A network that was fitted.

    Attributes
    ----------
    folder
        Where its files lie.
    epoch
        The epoch that was kept, from 0; of `epochs` that ran.
    best
        What `FitSpec.monitor` was then (as logged).
    seconds
        Spent in all epochs, interrupted runs included.
    """

    folder: Path
    epoch: int
    epochs: int
    best: float
    seconds: float
    lr: float
    about: Mapping[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, torch.Tensor]:
        """Read the weights of the kept epoch, names as in the module's ``state_dict``."""
        from safetensors.torch import load_file

        return load_file(self.folder / BEST)


def require_training() -> None:
    """Check that what training needs is installed; imports nothing.

    Raises
    ------
    MissingExtraError
        With the line that installs it.
    """
    from importlib.util import find_spec

    missing = [name for name in ("torch", "lightning", "timm", "safetensors") if find_spec(name) is None]
    if missing:
        raise MissingExtraError.of(", ".join(missing), "train")


def fit(
    module: pl.LightningModule,
    train: DataLoader[Any],
    validation: DataLoader[Any] | None,
    *,
    spec: FitSpec,
    folder: Path,
    listen: Listen = silent,
) -> Fitted:
    """Fit a network, or go on where an interrupted call with the same spec stopped, with the same result.

    The same result after a kill asks of the loader that what an epoch draws depends on seed and epoch alone:
    `coverslip.learn.loading.loader` makes such a one. Before each step the global generators are seeded anew.

    Parameters
    ----------
    module
        Logs ``train_loss`` and, of validation rows, ``val_loss`` and perhaps others. It need not define
        optimisers: unless it has its own ``configure_optimizers``, those of `spec` are used; a method
        ``parameter_groups(lr)`` may give groups with learning rates of their own.
    train, validation
        Batches. Without validation rows the last epoch is kept.
    folder
        Of this fold alone.

    Raises
    ------
    UsageError
        When a loss is no number, or nothing can be monitored.
    StoreError
        When the folder was begun with another spec.
    """
    from coverslip.learn.loop import run_loop

    require_training()
    folder.mkdir(parents=True, exist_ok=True)
    done = _done(folder, spec)
    if done is not None:
        return done
    record = run_loop(module, (train, validation), spec=spec, folder=folder, listen=listen)
    with atomic(folder / FITTED) as partial:
        partial.write_text(json.dumps({"spec": spec.what, **record}, indent=1), encoding="utf-8")
    (folder / LAST).unlink(missing_ok=True)
    return Fitted(folder, **record)


def _done(folder: Path, spec: FitSpec) -> Fitted | None:
    """Return what an earlier call made; refuse what was begun with another spec."""
    begun = folder / "spec.json"
    if begun.exists() and json.loads(begun.read_text(encoding="utf-8")) != spec.what:
        raise StoreError(
            f"{folder} was begun with other settings of fit", mend="give a new -o RUN, or the old settings"
        )
    with atomic(begun) as partial:
        partial.write_text(json.dumps(spec.what), encoding="utf-8")
    if not ((folder / FITTED).exists() and (folder / BEST).exists()):
        return None
    record = json.loads((folder / FITTED).read_text(encoding="utf-8"))
    record.pop("spec")
    return Fitted(folder, **record)


def with_device(spec: FitSpec, **where: Any) -> FitSpec:
    """Return the spec with device, devices, threads or workers changed; None leaves them.

    Examples
    --------
    >>> with_device(FitSpec(), threads=1, devices=None).threads
    1
    """
    return replace(spec, **{name: value for name, value in where.items() if value is not None})


def better(value: float, best: float, monitor: str) -> bool:
    """Say whether `value` beats `best`; smaller is better unless `monitor` begins with a minus.

    Examples
    --------
    >>> better(0.1, 0.2, "val_loss"), better(0.1, 0.2, "-val_auroc"), better(0.3, float("nan"), "val_loss")
    (True, False, True)
    """
    if math.isnan(best):
        return True
    return value > best if monitor.startswith("-") else value < best
