"""``coverslip report``: the run's page anew."""

from __future__ import annotations

import click


@click.command()
@click.argument("run", metavar="RUN")
def report(run: str) -> None:
    """Write the HTML report of RUN anew from what it holds, and print where it is.

    A run of `coverslip train` gets a page of its evaluation: metrics, curves, mistakes, learning.
    """
    from coverslip.evaluate import targets
    from coverslip.report.evaluation import write_evaluation_report
    from coverslip.report.overview import write_run_report
    from coverslip.store import RunFolder

    folder = RunFolder(run)
    trained = bool(targets(folder))
    surveyed = any(folder.keys(slide_id) for slide_id in folder.slides())
    if surveyed or not trained:
        click.echo(str(write_run_report(folder)))
    if trained:
        key = "evaluation" if surveyed else "report"
        click.echo(str(write_evaluation_report(folder, key=key)))
