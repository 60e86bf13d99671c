"""Lightning's trainer, set up; what goes on at the ends of epochs."""

from __future__ import annotations

import contextlib
import csv
import logging
import math
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger

from coverslip.core.errors import UsageError
from coverslip.core.files import atomic
from coverslip.learn.fit import BEST, HISTORY, LAST, FitSpec, better
from coverslip.learn.told import Listen, Told

Loaders = tuple[Any, Any]


def run_loop(
    module: pl.LightningModule, loaders: Loaders, *, spec: FitSpec, folder: Path, listen: Listen
) -> dict[str, Any]:
    """Fit, and return the fields of `coverslip.learn.fit.Fitted` besides the folder."""
    train, validation = loaders
    checkpoint = folder / LAST if (folder / LAST).exists() else None
    with _quiet(), _torch_of(spec):
        found = _settled_lr(module, loaders, spec=spec, folder=folder)
        steps = max(1, math.ceil(len(train) / (spec.accumulate * spec.devices)) * spec.epochs)
        _give_optimisers(module, spec, found, steps)
        _begin_at(train, checkpoint)
        epochs = Epochs(spec, folder, listen, validates=validation is not None)
        trainer = _trainer(spec, folder, epochs)
        trainer.fit(
            module, train, validation, ckpt_path=checkpoint, weights_only=None if checkpoint is None else True
        )
        if _forks(spec):
            epochs.load_state_dict(_kept_state(folder / LAST, epochs.state_key))
    return {
        "epoch": epochs.best_epoch,
        "epochs": epochs.ran,
        "best": epochs.best,
        "seconds": round(epochs.seconds, 3),
        "lr": found,
    }


class Epochs(Callback):
    """Seeds each epoch, keeps the best weights, writes the history, tells of it, stops when it is time.

    It stands before weight averaging among the callbacks, so at the end of validation it still sees the
    averaged weights.
    """

    def __init__(self, spec: FitSpec, folder: Path, listen: Listen, *, validates: bool) -> None:
        self._spec, self._folder, self._listen = spec, folder, listen
        self._validates = validates
        self._monitor = spec.monitor.lstrip("-") if validates else "train_loss"
        self.best, self.best_epoch, self.ran, self.seconds = math.nan, -1, 0, 0.0
        self._since = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {name: getattr(self, name) for name in ("best", "best_epoch", "ran", "seconds")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what an interrupted run knew."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Cut off the history what was written after the checkpoint."""
        _cut(self._folder / HISTORY, trainer.current_epoch)
        self._since = time.perf_counter()

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Seed what draws from the global generators: dropout, mixup.

        Not once per epoch: a resumed run makes its iterators, which draw too, at another moment.
        """
        seed_everything(self._spec.seed, trainer.current_epoch, batch_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights when they validate better than all before."""
        if trainer.sanity_checking or not self._validates:
            return
        value = _finite(trainer, self._monitor)
        if better(value, self.best, self._spec.monitor):
            self.best, self.best_epoch = value, trainer.current_epoch
            self._keep(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row and decide whether to go on."""
        loss = _finite(trainer, "train_loss")
        if not self._validates:
            self.best, self.best_epoch = loss, trainer.current_epoch
        epoch = trainer.current_epoch
        self.ran = epoch + 1
        spent = time.perf_counter() - self._since
        self._since += spent
        self.seconds += spent
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        figures = {
            k: float(v) for k, v in trainer.callback_metrics.items() if not k.endswith(("_step", "_epoch"))
        }
        row = {"epoch": epoch, **figures, "lr": max(rates), "seconds": round(spent, 3)}
        if trainer.is_global_zero:
            _append(self._folder / HISTORY, row)
        self._listen(Told("epochs", epoch + 1, self._spec.epochs, row))
        patience = self._spec.patience
        if self._validates and patience is not None and epoch - self.best_epoch >= patience:
            trainer.should_stop = True
        if not self._validates and (self.ran == self._spec.epochs):
            self._keep(trainer, pl_module)

    def _keep(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        from safetensors.torch import save_file

        if not trainer.is_global_zero:
            return
        averaged = _averaged(trainer) if not self._validates else None
        state = averaged or module.state_dict()
        with atomic(self._folder / BEST) as partial_file:
            save_file({k: v.detach().cpu().contiguous().clone() for k, v in state.items()}, partial_file)


def seed_everything(*numbers: int) -> None:
    """Seed torch, numpy's and Python's global generators; the same numbers give the same draws."""
    import random

    import numpy as np

    seed = int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries draw from it


def _trainer(spec: FitSpec, folder: Path, epochs: Epochs) -> pl.Trainer:
    checkpoints = ModelCheckpoint(
        dirpath=folder, filename=LAST.removesuffix(".ckpt"), save_top_k=1, monitor=None, every_n_epochs=1,
        save_on_train_epoch_end=True, enable_version_counter=False,
    )  # fmt: skip
    averaging = [] if spec.ema is None else [averaging_of(spec.ema)]
    precision = {"f32": "32-true", "bf16": "bf16-mixed", "f16": "16-mixed"}[spec.precision]
    board = TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)
    return pl.Trainer(
        accelerator="gpu" if spec.device == "cuda" else "cpu",
        devices=spec.devices,
        strategy="ddp_fork" if _forks(spec) else "ddp" if spec.devices > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        max_epochs=spec.epochs,
        accumulate_grad_batches=spec.accumulate,
        gradient_clip_val=spec.clip,
        callbacks=[epochs, *averaging, checkpoints],
        logger=board,
        deterministic=spec.deterministic,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=50,
        benchmark=False,
    )


def _forks(spec: FitSpec) -> bool:
    """Say whether processes are forked to train, and end with it; this one waits, and goes on alone."""
    return spec.device == "cpu" and spec.devices > 1


def _kept_state(checkpoint: Path, key: str) -> dict[str, Any]:
    """Return what a callback knew in the process that trained."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    found: dict[str, Any] = state["callbacks"][key]
    return found


def averaging_of(decay: float) -> Callback:
    """Return the callback that keeps a running average of weights and buffers, all tensors in one go.

    The average forgets faster at first (see `decay_at`), or a short training would end with weights that are
    half the random ones it began with.
    """
    from torch.optim.swa_utils import get_ema_multi_avg_fn

    def update(averaged: Any, current: Any, done: torch.Tensor) -> None:
        get_ema_multi_avg_fn(decay_at(int(done), decay))(averaged, current, done)

    return WeightAveraging(use_buffers=True, multi_avg_fn=update)


def decay_at(step: int, decay: float) -> float:
    """Return the decay of a running average after `step` updates.

    Examples
    --------
    >>> [round(decay_at(step, 0.98), 2) for step in (1, 10, 100, 1000)]
    [0.18, 0.55, 0.92, 0.98]
    """
    return min(decay, (1 + step) / (10 + step))


# ------------------------------------------------------------------ optimisers
def _give_optimisers(module: pl.LightningModule, spec: FitSpec, lr: float, steps: int) -> None:
    if type(module).configure_optimizers is not pl.LightningModule.configure_optimizers:
        return
    module.configure_optimizers = partial(optimisers, module, spec, lr, steps)  # type: ignore[method-assign]


def optimisers(module: Any, spec: FitSpec, lr: float, steps: int) -> dict[str, Any]:
    """Return optimiser and schedule of `spec` as Lightning takes them."""
    groups = module.parameter_groups(lr) if hasattr(module, "parameter_groups") else [
        {"params": list(module.parameters()), "lr": lr}
    ]  # fmt: skip
    parts = [part for group in groups for part in _decayed(group, spec.weight_decay)]
    if spec.optimiser == "sgd":
        optimiser: torch.optim.Optimizer = torch.optim.SGD(parts, lr=lr, momentum=0.9, nesterov=True)
    else:
        optimiser = torch.optim.AdamW(parts, lr=lr, foreach=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(rate, spec=spec, steps=steps))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate(step: int, *, spec: FitSpec, steps: int) -> float:
    """Return the factor of the learning rate at an optimiser step.

    Examples
    --------
    >>> [round(rate(s, spec=FitSpec(warmup=0.2), steps=10), 3) for s in (0, 2, 6, 10)]
    [0.333, 1.0, 0.5, 0.0]
    """
    warm = int(spec.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    if spec.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


def _decayed(group: dict[str, Any], decay: float) -> Iterator[dict[str, Any]]:
    """Split a group into matrices, which decay, and vectors (biases, norms), which do not."""
    learned = [p for p in group["params"] if p.requires_grad]
    for parameters, amount in (
        ([p for p in learned if p.ndim > 1], decay),
        ([p for p in learned if p.ndim <= 1], 0.0),
    ):
        if parameters:
            yield {**group, "params": parameters, "weight_decay": amount}


def _settled_lr(module: pl.LightningModule, loaders: Loaders, *, spec: FitSpec, folder: Path) -> float:
    if spec.lr != "find":
        return float(spec.lr)
    from coverslip.learn.lr import found_lr

    return found_lr(module, loaders[0], spec=spec, folder=folder)


# ------------------------------------------------------------------ small things
def _finite(trainer: pl.Trainer, name: str) -> float:
    metrics = trainer.callback_metrics
    if name not in metrics:
        raise UsageError(
            f"nothing called {name!r} is logged, so it cannot be monitored",
            mend=f"monitor one of {', '.join(sorted(metrics))}",
        )
    value = float(trainer.strategy.reduce(metrics[name], reduce_op="mean"))  # of all processes alike
    if not math.isfinite(value):
        raise UsageError(
            f"{name} is {value} in epoch {trainer.current_epoch}: training diverged, or the input has NaN",
            mend="check the input; lower fit.lr, or let it be found: lr: find",
        )
    return value


def _averaged(trainer: pl.Trainer) -> dict[str, Any] | None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        model = getattr(callback, "_average_model", None)
        if model is not None:
            return dict(model.module.state_dict())
    return None


def _begin_at(train: Any, checkpoint: Path | None) -> None:
    """Tell the sampler the epoch that comes first; Lightning tells it the others."""
    sampler = getattr(train, "sampler", None)
    if checkpoint is not None and hasattr(sampler, "set_epoch"):
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        sampler.set_epoch(int(state["epoch"]) + 1)


def _append(file: Path, row: dict[str, Any]) -> None:
    rows = [*_rows(file), {name: str(value) for name, value in row.items()}]
    names = list(dict.fromkeys(name for each in rows for name in each))
    with atomic(file) as partial_file, partial_file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _cut(file: Path, epoch: int) -> None:
    rows = [row for row in _rows(file) if int(row["epoch"]) < epoch]
    file.unlink(missing_ok=True)
    for row in rows:
        _append(file, row)


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@contextlib.contextmanager
def _torch_of(spec: FitSpec) -> Iterator[None]:
    """Set threads and determinism, and put them back."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1 if _forks(spec) else spec.threads)  # OpenMP's threads do not outlive a fork
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = False  # a tenth of the time, for what nobody reads
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
        torch.utils.deterministic.fill_uninitialized_memory = filled


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep off stderr what Lightning says of its own set-up, which a user can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
