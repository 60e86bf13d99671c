"""The command ``coverslip``, and what becomes of errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from coverslip._version import __version__
from coverslip.cli import (
    bench,
    demo,
    doctor,
    evaluate,
    export,
    info,
    models,
    predict,
    query,
    report,
    run,
    train,
    users,
    view,
)
from coverslip.core.errors import CoverslipError, SlideError, SlideNotFoundError, StoreError

SOME_FAILED, WRONG_USE, OUR_FAULT, STOPPED = 1, 2, 3, 130


class Verbs(click.Group):
    """A group of commands behind which every error becomes one line, its mend, and an exit code."""

    debug = False

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and leave with its exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        self.debug = False
        try:
            code = super().main(args, prog_name or "coverslip", complete_var, False, **extra)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            click.echo("stopped; the same command goes on from here", err=True)
            code = STOPPED
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has gone; nothing more to say
            code = 0
        except Exception as error:  # noqa: BLE001 - the last boundary: a person reads what comes out here
            code = self._told(error)
        sys.exit(code if isinstance(code, int) else 0)

    def _told(self, error: Exception) -> int:
        if self.debug:
            click.echo("".join(traceback.format_exception(error)).rstrip(), err=True)
        if isinstance(error, CoverslipError):
            click.echo(f"error: {error.message}", err=True)
            if error.mend:
                click.echo(f"to mend: {error.mend}", err=True)
            return exit_code(error)
        click.echo(f"fault: {type(error).__name__}: {error}", err=True)
        click.echo(
            "this is a fault of Coverslip: please report it with the output of `coverslip doctor` and of the "
            "same command with --debug, as in `coverslip --debug run …`",
            err=True,
        )
        return OUR_FAULT


def exit_code(error: CoverslipError) -> int:
    """Return 1 when a slide or the disk is at fault, 2 when the command is.

    Examples
    --------
    >>> from coverslip.core.errors import CorruptSlideError, UsageError
    >>> exit_code(CorruptSlideError("cut off")), exit_code(UsageError("no such option"))
    (1, 2)
    """
    from coverslip.store.writing import is_full

    if isinstance(error, StoreError):
        return SOME_FAILED if is_full(error) else WRONG_USE
    at_fault = isinstance(error, SlideError) and not isinstance(error, SlideNotFoundError)
    return SOME_FAILED if at_fault else WRONG_USE


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="coverslip")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Deep learning for whole-slide pathology, from glass to second opinion.

    stdout is data, stderr is progress and log. Exit 0: done; 1: some slides failed; 2: wrong use; 3: a fault
    of Coverslip's own.
    """
    if isinstance(context.command, Verbs):
        context.command.debug = debug


for command in (
    info.info,
    run.run,
    run.plan,
    run.status,
    train.train,
    predict.predict,
    evaluate.evaluate,
    query.query,
    export.export,
    report.report,
    demo.demo,
    models.models,
    doctor.doctor,
    bench.bench,
    view.view,
    users.users,
    users.record,
):
    main.add_command(command)
