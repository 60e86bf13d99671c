"""The run of a task on disk: what it was made of, what it predicts; taken up again or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Cohort, Rows, Splits, Target
from coverslip.core.errors import StoreError
from coverslip.core.files import atomic
from coverslip.learn.fit import ELSEWHERE
from coverslip.learn.parse import plain
from coverslip.store import Prediction, Provenance, RunFolder

STAGE, VERSION = "train", 1
TASK, SPLITS, COHORT = "task.yaml", "splits.json", "cohort.parquet"


@dataclass(frozen=True)
class TaskRun:
    """A run folder that belongs to one task and one cohort.

    Attributes
    ----------
    run
        The folder.
    provenance
        Of what the task makes for the run as a whole.
    """

    run: RunFolder
    provenance: Provenance

    @classmethod
    def begin(cls, path: Path, task: Any, cohort: Rows, splits: Splits) -> TaskRun:
        """Open or make the run, and write down task, cohort and splits.

        Raises
        ------
        StoreError
            When the folder holds the run of another task, cohort or split.
        """
        run = RunFolder.create(path)
        described = described_as(task)
        same = {name: value for name, value in described.items() if name != "cohort"}  # its digest counts
        parameters = {"task": same, "splits": splits_digest(splits)}
        made = Provenance.make(
            STAGE, VERSION, parameters=parameters, inputs={"cohort": cohort.digest}, slide=None
        )
        kept = run.info.get("task")
        if kept not in (None, made.fingerprint):
            raise StoreError(
                f"{path} holds the run of another task, cohort or split",
                mend="give a new -o RUN, or the task it was begun with",
            )
        if kept is None:
            _write_yaml(path / TASK, described)
            write_cohort(path / COHORT, cohort)
            splits.save(path / SPLITS, replace=True)
            run.set_info({"recipe": task.key, "slides": slides_of(cohort), "task": made.fingerprint}, made)
        return cls(run, made)

    def put_predictions(
        self, target: Target, classes: tuple[str, ...], columns: Mapping[str, NDArray[Any]]
    ) -> None:
        """Write ``predictions/<target>.parquet``."""
        kind = "ordinal" if target.kind == "ordinal" else "binary" if len(classes) == 2 else "multiclass"
        notes = {"kind": kind, "classes": list(classes), "target": target.column}
        key = f"predictions/{target.column}"
        self.run.put(
            None, key, Prediction(dict(columns), notes), provenance=self.provenance.now(), replace=True
        )


def described_as(task: Any) -> dict[str, Any]:
    """Return a task as TASK.yaml states it, without what only says where it runs."""
    name, _, method = task.key.partition("/")
    values = plain(task)
    values["fit"] = {k: v for k, v in values.get("fit", {}).items() if k not in ELSEWHERE}
    return {"task": name, **({"method": method} if method else {}), **values}


def splits_digest(splits: Splits) -> str:
    """Return what identifies who trains, chooses and tests."""
    import hashlib
    import json

    rows = [[rows.tolist() for _, rows in fold.parts()] for fold in splits.folds]
    return "sha256:" + hashlib.sha256(json.dumps([splits.cohort, rows]).encode()).hexdigest()


def probability_columns(classes: tuple[str, ...], chances: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return a column per class, named as `coverslip.evaluate` reads them; rows sum to 1."""
    exact = np.asarray(chances, np.float64)
    exact = exact / exact.sum(axis=1, keepdims=True)
    return {f"probability_{name}": exact[:, place] for place, name in enumerate(classes)}


def slides_of(cohort: Rows) -> list[dict[str, str]]:
    """Return the slides as ``run.json`` lists them; none for a cohort of tiles."""
    if not isinstance(cohort, Cohort):
        return []
    return [{"id": s.id, "path": str(s.path)} for s in cohort.to_sources()]


def write_cohort(file: Path, cohort: Rows) -> None:
    """Write the table as used."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: pa.array(values.tolist()) for name, values in cohort.columns.items()})
    with atomic(file) as partial:
        parquet.write_table(table, partial)


def _write_yaml(file: Path, values: Mapping[str, Any]) -> None:
    import yaml

    with atomic(file) as partial:
        partial.write_text(
            yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
