"""``coverslip evaluate``: tables and runs, alone and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np


def csv(path: Path, noise: float, patients: bool = True) -> Path:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 40)
    score = 1 / (1 + np.exp(-np.random.default_rng(1).normal(2 * truth - 1, noise)))
    head = "slide,patient,fold,truth,probability_n,probability_t" if patients else "slide,truth,p_n,p_t"
    lines = [head]
    for i, (t, p) in enumerate(zip(truth, score, strict=True)):
        who = f",q{i // 2},{i // 2 % 2}" if patients else ""
        lines.append(f"s{i}{who},{'nt'[t]},{1 - p},{p}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_is_evaluated(coverslip: Callable, tmp_path: Path) -> None:
    path = csv(tmp_path / "mil.csv", 1.0)
    said = coverslip("evaluate", path, "--bootstrap", 50)
    assert (said.code, said.out.splitlines()[0]) == (0, "mil: binary, 40 rows of 20 patients or cases")
    assert "fold 1" in said.out
    values = json.loads(coverslip("evaluate", path, "--bootstrap", 50, "--json").out)["mil"]
    assert values["metrics"]["auroc"]["low"] < values["metrics"]["auroc"]["value"]
    assert values["groups"] == 20
    assert f"{values['metrics']['accuracy']['value']:.3f}" in said.out


def test_without_patients_the_intervals_say_so(coverslip: Callable, tmp_path: Path) -> None:
    said = coverslip("evaluate", csv(tmp_path / "x.csv", 1.0, patients=False), "--bootstrap", 50)
    assert "intervals are by row" in said.err


def test_a_run_keeps_its_evaluation(coverslip: Callable, tmp_path: Path) -> None:
    from coverslip.evaluate import read_predictions
    from coverslip.store import Provenance, RunFolder

    run = RunFolder.create(tmp_path / "run")
    one = read_predictions(csv(tmp_path / "x.csv", 1.0), target="grade")
    made = Provenance.make("train", 1, parameters={}, inputs={}, slide=None)
    run.put(None, "predictions/grade", one.to_prediction(), provenance=made)
    said = coverslip("evaluate", run.path, "--bootstrap", 50, "--json")
    assert json.loads(said.out)["grade"] == run.get(None, "evaluation/grade").to_dict()


def test_two_are_compared(coverslip: Callable, tmp_path: Path) -> None:
    one, other = csv(tmp_path / "one.csv", 0.5), csv(tmp_path / "other.csv", 3.0)
    said = coverslip("evaluate", one, other, "--bootstrap", 50)
    assert "2 models on the same 40 rows" in said.out
    assert "less one, on the same resamples" in said.out
    values = json.loads(coverslip("evaluate", one, other, "--bootstrap", 50, "--json").out)
    assert values["differences"]["other"]["auroc"]["value"] < 0


def test_what_cannot_be_read_is_refused(coverslip: Callable, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    said = coverslip("evaluate", tmp_path / "x.csv")
    assert said.code == 2
    assert "no column of probabilities" in said.err
