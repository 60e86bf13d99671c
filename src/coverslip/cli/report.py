"""``coverslip report``: the run's page anew."""

from __future__ import annotations

import click


@click.command()
@click.argument("run", metavar="RUN")
def report(run: str) -> None:
    """Write the HTML report of RUN anew from what it holds, and print where it is."""
    from coverslip.report.overview import write_run_report
    from coverslip.store import RunFolder

    click.echo(str(write_run_report(RunFolder(run))))
