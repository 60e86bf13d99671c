"""``coverslip bench``: the published tables, re-run."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, table
from coverslip.core.errors import UsageError

BENCHES = {
    "engine": "coverslip.tiles.bench",
    "ibsi": "coverslip.measure.radiomics.ibsi",
    "ibsi-ct": "coverslip.measure.radiomics.ibsi_ct",
    "mil": "coverslip.learn.bags.bench",
}
"""Name and module; its ``run(input)`` returns rows, mappings of the same keys.

A row whose ``agrees`` is false makes the command end with 1. A ``LEGEND`` says what the columns mean."""

INPUTS = {"engine": "slide", "ibsi": "data", "ibsi-ct": "data", "mil": "data"}
"""The option that a bench takes its input from."""


@click.command()
@click.argument("name", type=click.Choice(sorted(BENCHES)))
@click.option("--slide", help="engine: a slide of yours; by default a phantom is made.")
@click.option("--data", help="ibsi, ibsi-ct: folder of the phantoms and reference values; mil: of .npz.")
@json_option
@click.pass_context
def bench(context: click.Context, name: str, in_json: bool, **inputs: str | None) -> None:
    """Re-run the published table NAME here.

    engine: how fast tiles are read, with the floor beside each figure. ibsi, ibsi-ct: radiomics of the
    digital and of the CT phantom beside the reference values. mil: learning from bags, on each data set of a
    folder, beside published accuracy. Ends with 1 if a figure is off, or below what was published.
    """
    needless = [f"--{key}" for key, value in inputs.items() if value is not None and key != INPUTS[name]]
    if needless:
        raise UsageError(f"the bench {name} takes no {needless[0]}", mend=f"leave out {needless[0]}")
    module = import_module(BENCHES[name])
    rows = module.run(inputs[INPUTS[name]])
    if in_json:
        as_json(rows)
    elif rows:
        table(tuple(rows[0]), [tuple(map(_figure, row.values())) for row in rows])
        if legend := getattr(module, "LEGEND", None):
            click.echo(f"\n{legend}")
    if not all(row.get("agrees", True) for row in rows):
        context.exit(1)


def _figure(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else value
