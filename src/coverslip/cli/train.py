"""``coverslip train``, and ``coverslip plan`` of a task."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, pairs
from coverslip.core.errors import UsageError

if TYPE_CHECKING:
    from coverslip.learn import Plan, Told, Trained
    from coverslip.learn.told import Listen

EVALUATED = "classify/"
"""Tasks whose predictions are a table of classes, which `coverslip.evaluate` reads."""


@click.command()
@click.argument("task", metavar="TASK.yaml")
@click.option("-o", "--out", required=True, metavar="RUN", help="Folder for the results; a run goes on.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Over what the file says.")
@click.option("--devices", type=int, help="How many; several train in step.")
@click.option("--threads", type=int, help="CPU threads of each process.")
@click.option("--workers", type=int, help="Processes that read data; 0 reads in the training process.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
def train(task: str, out: str, in_json: bool, quiet: bool, **where: Any) -> None:
    """Learn what TASK.yaml says and keep models, predictions and their evaluation in RUN.

    Everything is checked before anything is learned. The same command goes on after an interruption, with the
    same result.
    """
    from coverslip.learn import load_task

    chosen = _placed(load_task(task), where)
    with _sigterm_as_ctrl_c(), telling(quiet=quiet) as listen:
        made = chosen.train(Path(out), listen=listen)
    evaluations = _evaluated(chosen.key, made)
    if in_json:
        return as_json(
            {"run": str(made.run), "summary": dict(made.summary), "evaluation": _metrics(evaluations)}
        )
    _show(made, evaluations)
    return None


def plan_task(task: str, slides: tuple[str, ...], *, in_json: bool) -> None:
    """Check everything that TASK.yaml needs and print what would be done.

    Raises
    ------
    UsageError
        When slides are named: a task names its own cohort.
    """
    from coverslip.learn import load_task

    if slides:
        raise UsageError("a task names its cohort itself", mend=f"coverslip plan {task}")

    found = load_task(task).plan()
    if in_json:
        return as_json({"facts": dict(found.facts), "warnings": list(found.warnings), **found.values})
    _show_plan(found)
    return None


def is_task(name: str) -> bool:
    """Say whether `name` is a YAML file that names a task, not a recipe."""
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        return False
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return any(line.startswith("task:") for line in path.read_text(encoding="utf-8").splitlines())
    return False


@contextlib.contextmanager
def telling(*, quiet: bool) -> Iterator[Listen]:
    """Yield what tells of training on stderr: one line, written anew on a terminal, else one per epoch."""
    from coverslip.learn.told import silent

    if quiet:
        yield silent
        return
    live = sys.stderr.isatty()

    def heard(told: Told) -> None:
        text = line_of(told)
        click.echo(f"\r\033[K{text}" if live else text, err=True, nl=not live)

    yield heard
    if live:
        click.echo(err=True)


def line_of(told: Told) -> str:
    """Return where training is, as a line.

    Examples
    --------
    >>> from coverslip.learn import Told
    >>> line_of(Told("fold 1 of 5: epochs", 3, 40, {"epoch": 2, "val_loss": 0.51234, "seconds": 2.0}))
    'fold 1 of 5: epochs 3/40  val_loss 0.5123  1 min 14 s left'
    """
    from coverslip.cli.planned import lasting

    figures = {k: v for k, v in told.values.items() if k not in {"epoch", "seconds", "lr"}}
    parts = [f"{told.what} {told.done}/{told.total}" if told.total else told.what]
    parts += [f"{name} {value:.4f}" for name, value in figures.items()]
    if told.total and "seconds" in told.values:
        parts.append(f"{lasting(told.values['seconds'] * (told.total - told.done))} left")
    return "  ".join(parts)


def _placed(task: Any, where: dict[str, Any]) -> Any:
    from dataclasses import replace

    from coverslip.learn.fit import with_device

    if not hasattr(task, "fit"):  # nothing is fitted by the training loop
        given = {name: value for name, value in where.items() if value is not None}
        if strange := sorted(given.keys() - {"threads"}):
            raise UsageError(f"this task runs on the CPU, in one process: --{strange[0]} is not for it")
        return replace(task, **given)
    return replace(task, fit=with_device(task.fit, **where))


def _evaluated(key: str, made: Trained) -> dict[str, Any]:
    if not key.startswith(EVALUATED):
        return {}
    from coverslip.evaluate import evaluate_run
    from coverslip.store import RunFolder

    run = RunFolder(made.run)
    return {target: evaluate_run(run, target) for target in made.targets}


def _metrics(evaluations: dict[str, Any]) -> dict[str, Any]:
    return {target: found.to_dict() for target, found in evaluations.items()}


def _show(made: Trained, evaluations: dict[str, Any]) -> None:
    for target in made.targets:
        click.echo(f"{target}: model {made.run / 'models' / target}")
        found = evaluations.get(target)
        shown = made.summary.get(target, {}) if found is None else found.metrics
        pairs({f"  {name}": f"{v:.3f}" if isinstance(v, float) else str(v) for name, v in shown.items()})
    if evaluations:
        click.echo(f"curves and tables: coverslip evaluate {made.run} --html FILE")


def _show_plan(found: Plan) -> None:
    pairs(dict(found.facts))
    for warning in found.warnings:
        click.echo(f"note: {warning}")
    click.echo("everything that could be checked is in order")


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Treat what a batch system sends before it kills as Ctrl-C."""
    import signal

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
