"""``coverslip demo``: phantom slides, surveyed, against the truth."""

from __future__ import annotations

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, table


@click.command()
@click.option("-o", "--out", default="demo", show_default=True, metavar="FOLDER", help="For slides and run.")
@click.option("--workers", type=int, default=2, show_default=True, help="Processes; 0 for this one alone.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def demo(context: click.Context, out: str, workers: int, in_json: bool, quiet: bool) -> None:
    """Make phantom slides, survey them, and set what was found against what is known to be there."""
    from dataclasses import asdict

    from coverslip.cli.progress import listener
    from coverslip.pipeline import Execution, Recipe
    from coverslip.pipeline.demo import run_demo

    stages = len(Recipe.load("survey").stages) + 1
    if not quiet:
        click.echo(f"phantom slides in {out}/slides, results in {out}/run", err=True)
    with listener(stages, quiet=quiet) as heard:
        done = run_demo(out, Execution(workers=workers), heard)
    rows = [asdict(row) for row in done.comparisons]
    if in_json:
        as_json({"comparisons": rows, "report": str(done.report), "ok": done.result.ok})
    else:
        table(
            ("slide", "what", "found", "truth", ""), [(*list(row.values())[:4], _mark(row)) for row in rows]
        )
        agree = sum(row["agrees"] for row in rows)
        click.echo(f"\n{agree} of {len(rows)} figures agree with the truth")
        click.echo(f"the report: open {done.report} in a browser, e.g. with")
        click.echo(f"  xdg-open {done.report}     (macOS: open {done.report})")
    context.exit(0 if done.result.ok else 1)


def _mark(row: dict[str, object]) -> str:
    return "" if row["agrees"] else "differs"
