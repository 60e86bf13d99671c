"""The training loop: resumes with the same result, stops early, refuses what diverges."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason='lightning is not installed: pip install "coverslip[train]"')
import lightning.pytorch as pl
import torch

from coverslip.core.errors import StoreError, UsageError
from coverslip.learn import FitSpec, fit
from coverslip.learn.loading import EpochSampler, balancing, loader, rng_of

SPEC = FitSpec(epochs=4, batch_size=8, lr=0.05, precision="f32", weight_decay=0.0, threads=1)


class Points:
    """Points of two classes, shaken differently in each epoch."""

    def __init__(self, seed: int, count: int = 40) -> None:
        rng = np.random.default_rng(seed)
        self.y = rng.integers(0, 2, count)
        self.x = rng.normal(size=(count, 4)).astype(np.float32) + 1.5 * self.y[:, None].astype(np.float32)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, key):
        epoch, row = key
        shaken = self.x[row] + 0.1 * rng_of(0, epoch, row).normal(size=4).astype(np.float32)
        return torch.from_numpy(shaken.astype(np.float32)), int(self.y[row])


class Line(pl.LightningModule):
    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(4, 2))
        self.fail_at = fail_at

    def training_step(self, batch, _index):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self.layers(x), y)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        if self.fail_at is not None and self.current_epoch == self.fail_at:
            raise KeyboardInterrupt
        return loss

    def validation_step(self, batch, _index):
        x, y = batch
        self.log("val_loss", torch.nn.functional.cross_entropy(self.layers(x), y))


def run(folder: Path, spec: FitSpec = SPEC, fail_at: int | None = None):
    train, val = loader(Points(0), spec, train=True), loader(Points(1), spec, train=False)
    return fit(Line(fail_at), train, val, spec=spec, folder=folder)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_killed_fit_goes_on_with_the_same_result(tmp_path: Path, ema: float | None) -> None:
    spec = replace(SPEC, ema=ema)
    whole = run(tmp_path / "whole", spec)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / "cut", spec, fail_at=2)
    assert (tmp_path / "cut" / "last.ckpt").exists()
    resumed = run(tmp_path / "cut", spec)
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name
    assert (whole.epoch, whole.best, resumed.epochs) == (resumed.epoch, resumed.best, 4)
    assert not (tmp_path / "cut" / "last.ckpt").exists()
    assert [row["epoch"] for row in history(tmp_path / "cut")] == ["0", "1", "2", "3"]
    again = run(tmp_path / "cut", spec)  # nothing is left to do
    assert again == resumed


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_slow_average_does_not_hold_a_short_training_back(tmp_path: Path) -> None:
    plain, averaged = run(tmp_path / "plain"), run(tmp_path / "slow", replace(SPEC, ema=0.9999))
    before = float(history(tmp_path / "plain")[0]["val_loss"])
    assert plain.best < 0.9 * before
    assert averaged.best < before


def test_history_says_what_chose_the_epoch(tmp_path: Path) -> None:
    fitted = run(tmp_path)
    losses = [float(row["val_loss"]) for row in history(tmp_path)]
    assert fitted.best == pytest.approx(min(losses))
    assert fitted.epoch == int(np.argmin(losses))
    assert float(history(tmp_path)[-1]["lr"]) < SPEC.lr / 10  # cosine


def test_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    wild = replace(SPEC, lr=3.0, optimiser="sgd", clip=None, epochs=30, patience=2, schedule="constant")
    fitted = run(tmp_path, wild)
    assert fitted.epochs == fitted.epoch + 3 < 30


def test_another_spec_is_refused(tmp_path: Path) -> None:
    run(tmp_path, replace(SPEC, epochs=1))
    with pytest.raises(StoreError, match="other settings"):
        run(tmp_path, replace(SPEC, epochs=2))
    run(tmp_path, replace(SPEC, epochs=1, threads=2))  # where it runs is no part of it


def test_nan_is_refused(tmp_path: Path) -> None:
    data = Points(0)
    data.x[3] = np.nan
    spec = replace(SPEC, clip=None)
    with pytest.raises(UsageError, match="diverged"):
        fit(Line(), loader(data, spec, train=True), None, spec=spec, folder=tmp_path)


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    fitted = fit(Line(), loader(Points(0), SPEC, train=True), None, spec=SPEC, folder=tmp_path)
    assert fitted.epoch == 3


def test_finds_a_learning_rate(tmp_path: Path) -> None:
    fitted = run(tmp_path, replace(SPEC, lr="find"))
    assert 1e-6 < fitted.lr <= 0.3
    assert (tmp_path / "lr.txt").exists()


def test_sampler_draws_by_seed_and_epoch() -> None:
    sampler = EpochSampler(10, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(row for _, row in first) == sorted(row for _, row in second) == list(range(10))
    assert [row for _, row in first] != [row for _, row in second]
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_balancing_draws_classes_alike() -> None:
    codes = np.array([0] * 90 + [1] * 10)
    sampler = EpochSampler(100, seed=0, weights=balancing(codes))
    drawn = np.concatenate([codes[[row for _, row in _at(sampler, epoch)]] for epoch in range(20)])
    assert abs(drawn.mean() - 0.5) < 0.05


def _at(sampler: EpochSampler, epoch: int):
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("lr", -1.0), ("patience", 0), ("ema", 1.5)])
def test_numbers_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        FitSpec(**{name: value})


# ------------------------------------------------------------------ several processes
FRESH = "COVERSLIP_TEST_IN_A_FRESH_PROCESS"


@pytest.mark.parametrize("ema", [None, 0.9])
def test_two_processes_learn_what_one_does_from_batches_twice_as_large(
    tmp_path: Path, ema: float | None, request: pytest.FixtureRequest
) -> None:
    """Each takes every second row of an epoch, so that a step sees the same rows as one of one process."""
    if FRESH not in os.environ:  # PyTorch's threads of earlier tests do not outlive a fork
        alone = f"{__file__}::{request.node.name}"
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", alone]
        told = subprocess.run(
            words, check=False, env={**os.environ, FRESH: "1"}, capture_output=True, text=True
        )
        assert (told.returncode, "1 passed" in told.stdout) == (0, True), told.stdout[-3000:]
        return

    def learned(folder: Path, spec: FitSpec):
        module = Line()
        module.layers[0].p = 0.0  # what is dropped would differ
        train, val = loader(Points(0), spec, train=True), loader(Points(1), spec, train=False)
        return fit(module, train, val, spec=spec, folder=folder)

    spec = replace(SPEC, ema=ema)
    one = learned(tmp_path / "one", spec)
    two = learned(tmp_path / "two", replace(spec, batch_size=4, devices=2))
    for name, value in one.state().items():
        torch.testing.assert_close(two.state()[name], value, atol=1e-5, rtol=1e-4)
    assert (two.epoch, two.epochs, two.seconds > 0) == (one.epoch, 4, True)
    assert two.best == pytest.approx(one.best, abs=1e-5)
    rows = history(tmp_path / "two")
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    np.testing.assert_allclose(
        [float(row["lr"]) for row in rows], [float(row["lr"]) for row in history(tmp_path / "one")]
    )
    assert any((tmp_path / "two" / "tensorboard").rglob("events*"))
