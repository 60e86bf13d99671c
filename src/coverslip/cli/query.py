"""``coverslip query``: filter, group and summarise the objects of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, table
from coverslip.core.errors import ExistsError, UsageError

if TYPE_CHECKING:
    from coverslip.store.query import Query

SHOWN = 20
"""Objects printed when nothing says how many."""

SHOWN_COLUMNS = 8


@click.command()
@click.argument("run", type=click.Path())
@click.argument("expression", required=False)
@click.option("--objects", metavar="NAME", help="Which objects, where the run has several.")
@click.option("--slide", "slides", multiple=True, metavar="ID", help="Only this slide; may be repeated.")
@click.option("--by", metavar="COLUMN,…", help="Group by these columns.")
@click.option("--summarise", metavar="SUMMARY,…", help="As count,mean(area_um2),p90(score).")
@click.option("--limit", type=click.IntRange(0), help="Give at most this many rows.")
@click.option("-o", "--output", type=click.Path(), help="Write .csv, .parquet, .geojson or .geojson.gz.")
@click.option("--replace", is_flag=True, help="Overwrite the file of -o.")
@json_option
def query(run: str, expression: str | None, in_json: bool, output: str | None, **asked: Any) -> None:
    """Ask RUN about its objects: those for which EXPRESSION holds, over all slides.

    \b
    EXPRESSION compares columns, numbers and 'text':
      area_um2 > 80 and class == 'tumour'
      class in ('tumour', 'stroma') and not (score < 0.5)
      20 < area_um2 <= 200      eccentricity between 0.8 and 1
      sqrt(area_um2) / feret_max_um > 0.7      class == null
    Columns are slide, object, class, score, x, y and the measurements; a name that
    is no plain word stands in `backticks`.

    \b
    Summaries: count, mean, median, sd, min, max, sum, p5, p90, … of a value, and
    share of a condition: share(class == 'tumour').
    """  # noqa: D301 - click reads the backspace
    from coverslip.store import RunFolder
    from coverslip.store.query import Query

    replace = bool(asked["replace"])
    by = tuple(name.strip() for name in (asked["by"] or "").split(",") if name.strip())
    question = Query(
        RunFolder(run),
        asked["objects"],
        expression,
        by,
        asked["summarise"],
        tuple(asked["slides"]) or None,
        limit=asked["limit"],
    )
    if output is not None:
        written = _write(question, Path(output), replace=replace)
        as_json({"path": output, "rows": written}) if in_json else click.echo(f"{output}: {written} rows")
    elif in_json:
        as_json(question.rows())
    else:
        _print(question)


def _write(question: Query, path: Path, *, replace: bool) -> int:
    if path.exists() and not replace:
        raise ExistsError(f"{path} is there already", mend="choose another name, or --replace")
    if not path.name.lower().endswith((".geojson", ".geojson.gz")):
        question.write(path)
        return question.arrow().num_rows if question.summarises or question.limit else question.count()
    if question.summarises or question.limit is not None:
        raise UsageError("GeoJSON holds objects, not summaries or a first few", mend="write .csv or .parquet")
    from coverslip.interop import write_geojson

    found = question.selected()
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} slides have such objects, and a GeoJSON file is of one slide",
            mend=f"--slide {next(iter(found))}, or coverslip export RUN --to geojson for a file per slide",
        )
    if not found:
        raise UsageError("no object of the run is such", mend="ask without -o to see what there is")
    return write_geojson(next(iter(found.values())), path)


def _print(question: Query) -> None:
    if question.summarises:
        rows = question.rows()
        head: Sequence[str] = list(rows[0]) if rows else ()
        table(head, [[_figure(row[name]) for name in head] for row in rows])
        return
    import dataclasses

    total = question.count()
    limit = SHOWN if question.limit is None else question.limit
    rows = dataclasses.replace(question, limit=limit).rows()
    head = list(question.columns)[:SHOWN_COLUMNS]
    table(head, [[_figure(row[name]) for name in head] for row in rows])
    hidden = len(question.columns) - len(head)
    more = f", {hidden} more columns (--json or -o FILE for all)" if hidden > 0 else ""
    click.echo(f"{min(limit, total)} of {total} objects{more}", err=True)


def _figure(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
