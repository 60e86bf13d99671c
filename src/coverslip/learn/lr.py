"""A learning rate by range test.

Smith, Cyclical learning rates for training neural networks, WACV 2017; as Lightning runs it: the rate grows
exponentially from step to step, and the one where the smoothed loss falls fastest is taken.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.tuner import Tuner

from coverslip.core.errors import UsageError
from coverslip.learn.fit import FitSpec

STEPS = 60
LOWEST, HIGHEST = 1e-6, 0.3


def found_lr(module: pl.LightningModule, train: Any, *, spec: FitSpec, folder: Path) -> float:
    """Return the learning rate found; the module's weights are as before.

    It is kept in ``lr.txt``, so that a resumed run goes on with the same.

    Raises
    ------
    UsageError
        When the loss falls nowhere.
    """
    from coverslip.learn.loop import optimisers, seed_everything

    file = folder / "lr.txt"
    if file.exists():
        return float(file.read_text(encoding="utf-8"))
    seed_everything(spec.seed)
    own = module.configure_optimizers
    module.lr = LOWEST  # type: ignore[assignment]
    module.configure_optimizers = lambda: optimisers(  # type: ignore[method-assign]
        module, spec, module.lr, 1
    )["optimizer"]
    trainer = pl.Trainer(
        default_root_dir=folder, logger=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="gpu" if spec.device == "cuda" else "cpu", devices=1, max_epochs=spec.epochs,
        enable_checkpointing=False, gradient_clip_val=spec.clip,
    )  # fmt: skip
    search = partial(
        Tuner(trainer).lr_find, min_lr=LOWEST, max_lr=HIGHEST, num_training=STEPS, update_attr=False
    )
    try:
        found = search(module, train_dataloaders=train)
    finally:
        module.configure_optimizers = own  # type: ignore[method-assign]
        sampler = getattr(train, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(0)
    suggestion = None if found is None else found.suggestion()
    if suggestion is None:
        raise UsageError("the range test found no rate at which the loss falls", mend="give fit.lr a number")
    file.write_text(repr(float(suggestion)), encoding="utf-8")
    return float(suggestion)
