"""Evaluate what a run predicts, and keep the result in it."""

from __future__ import annotations

from coverslip.core.errors import StoreError
from coverslip.evaluate.classification import N_BOOT
from coverslip.evaluate.tables import read_predictions
from coverslip.store import Evaluation, Provenance, RunFolder

STAGE, VERSION = "evaluate", 1


def evaluate_run(run: RunFolder, target: str, *, seed: int = 0, n_boot: int = N_BOOT) -> Evaluation:
    """Evaluate ``predictions/<target>`` of a run and write ``evaluation/<target>.json``.

    An evaluation that is there, of the same predictions and draws, is read and not made again.

    Raises
    ------
    StoreError, UsageError, UnknownNameError
        When the run has no such predictions, or they cannot be evaluated.
    """
    source, key = f"predictions/{target}", f"evaluation/{target}"
    inputs = {source: run.provenance(None, source).fingerprint}
    draws = {"target": target, "seed": seed, "n_boot": n_boot}
    made = Provenance.make(STAGE, VERSION, parameters=draws, inputs=inputs, slide=None)
    if run.fingerprint(None, key) == made.fingerprint:
        try:
            kept: Evaluation = run.get(None, key)
        except StoreError:
            pass  # damaged: made anew below
        else:
            return kept
    found = read_predictions(run.path, target=target).evaluate(seed=seed, n_boot=n_boot)
    run.put(None, key, found, provenance=made, replace=True)
    return found
