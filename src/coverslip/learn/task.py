"""What a task promises, and how one is read from TASK.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from coverslip.core import unknown
from coverslip.core.errors import SlideNotFoundError, UsageError
from coverslip.learn.parse import made
from coverslip.learn.tasks import TASKS
from coverslip.learn.told import Listen, silent


@dataclass(frozen=True)
class Plan:
    """What a task would do; everything that can be checked was.

    Attributes
    ----------
    facts
        Name → text, for people: rows, classes, folds, network, parameters to be learned, …
    warnings
        What to know about: label and site confounded, no column patient, …
    values
        The same for programs, JSON types.
    """

    facts: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """What came of a task.

    Attributes
    ----------
    run
        The folder: ``task.yaml``, ``cohort.parquet``, ``splits.json``, ``models/``, ``predictions/``.
    targets
        Names of what was learned; each has ``models/<target>/`` and ``predictions/<target>.parquet``.
    summary
        Target → figures on rows that trained no model that predicted them.
    """

    run: Path
    targets: tuple[str, ...]
    summary: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """A frozen dataclass; its fields are the keys of TASK.yaml besides ``task`` and ``method``.

    Nested dataclasses become nested mappings, fields of type `pathlib.Path` are relative to the file. Checks
    that need no disk belong in ``__post_init__`` (raise `UsageError`), the others in `plan`.

    Attributes
    ----------
    key
        Its row in `coverslip.learn.tasks.TASKS`.
    """

    key: ClassVar[str]

    def plan(self) -> Plan:
        """Check everything that can go wrong before hours are spent, and say what would be done.

        Raises
        ------
        CoverslipError
            With all problems and how to mend them.
        """
        ...

    def train(self, run: Path, *, listen: Listen = silent) -> Trained:
        """Plan, then learn and predict; what an interrupted run left is taken up with the same result."""
        ...


def load_task(path: str | Path) -> Task:
    """Read and check TASK.yaml.

    Raises
    ------
    SlideNotFoundError
        When there is no such file.
    UsageError
        When it is no YAML, names no task, or has unknown keys (nearest match) or values of another type.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
    ...     file = Path(folder) / "task.yaml"
    ...     _ = file.write_text("task: clasify")
    ...     load_task(file)
    Traceback (most recent call last):
    coverslip.core.errors.UsageError: task.yaml: there is no task 'clasify'; to mend: ...
    """
    file = Path(path)
    return task_of(_read(file), where=file.name, folder=file.parent)


def task_of(values: Mapping[str, Any], *, where: str = "the task", folder: str | Path = ".") -> Task:
    """Make a task of plain values, paths in them relative to `folder`.

    Raises
    ------
    UsageError
        As `load_task`.
    """
    rest = dict(values)
    key = _row(rest, where)
    module, _, name = TASKS[key].partition(":")
    kind: type[Task] = getattr(import_module(module), name)
    task: Task = made(kind, rest, where=where, folder=Path(folder))
    return task


def _row(rest: dict[str, Any], where: str) -> str:
    """Take ``task`` and ``method`` out of the values and return the row of `TASKS` that they name."""
    tasks = sorted({key.partition("/")[0] for key in TASKS})
    if "task" not in rest:
        raise UsageError(f"{where} names no task", mend=f"write task: and one of {', '.join(tasks)}")
    task = str(rest.pop("task"))
    if task not in tasks:
        error = unknown("task", task, tasks)
        raise UsageError(f"{where}: {error.message}", mend=error.mend)
    if task in TASKS:
        return task
    methods = [key.partition("/")[2] for key in TASKS if key.startswith(f"{task}/")]
    if "method" not in rest:
        raise UsageError(f"{where} names no method", mend=f"write method: and one of {', '.join(methods)}")
    method = str(rest.pop("method"))
    if method not in methods:
        error = unknown("method", method, methods)
        raise UsageError(f"{where}: {error.message}", mend=error.mend)
    return f"{task}/{method}"


def _read(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SlideNotFoundError(f"there is no task {file}", mend="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", mend="expected a YAML file in UTF-8") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not YAML: {error}", mend="see docs/how-to/classify.md") from error
    if not isinstance(values, Mapping):
        raise UsageError(f"{file} holds no task", mend="write task: classify, method: tiles, cohort: …")
    return values
