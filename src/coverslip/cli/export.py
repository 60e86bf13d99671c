"""``coverslip export``: the objects of a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json

FORMATS = ("geojson", "csv", "parquet", "training")


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--to", type=click.Choice(FORMATS), required=True, help="geojson is for QuPath, training for train."
)
@click.option("-o", "--output", type=click.Path(), help="Folder; by default RUN/export.")
@click.option("--objects", metavar="NAME", help="Which objects, where the run has several.")
@click.option("--slide", "slides", multiple=True, metavar="ID", help="Only this slide; may be repeated.")
@click.option("--where", metavar="EXPRESSION", help="Only such objects, as coverslip query takes it.")
@click.option(
    "--measurements", metavar="all|none|NAME,…", default="all", show_default=True, help="Of geojson."
)
@click.option(
    "--as",
    "object_type",
    type=click.Choice(["detection", "annotation"]),
    default="detection",
    show_default=True,
    help="What QuPath takes the objects of geojson for.",
)
@click.option("--gz", is_flag=True, help="Compress geojson; QuPath reads it all the same.")
@click.option(
    "--db", metavar="URL", help="Of training: where coverslip view keeps shapes; by default in RUN."
)
@click.option("--replace", is_flag=True, help="Overwrite files that are there.")
@json_option
def export(run: str, to: Any, output: str | None, in_json: bool, **asked: Any) -> None:
    """Write the objects of RUN for other programs.

    geojson: a file per slide, which QuPath imports (File, Import objects from file). csv, parquet: one table
    of all slides; parquet keeps the polygons. training: what was drawn and corrected in coverslip view, as
    tables that coverslip train takes.
    """
    if to == "training":
        _training(run, output, asked["objects"], asked["db"], in_json=in_json)
        return
    from coverslip.interop.export import export as exported
    from coverslip.interop.geojson import ObjectsGeoJSON
    from coverslip.store import RunFolder
    from coverslip.store.query import Query

    question = Query(RunFolder(run), asked["objects"], asked["where"], slides=tuple(asked["slides"]) or None)
    wanted = {"all": None, "none": ()}.get(asked["measurements"], tuple(asked["measurements"].split(",")))
    how = ObjectsGeoJSON(asked["object_type"], wanted)
    folder = Path(output) if output is not None else Path(run) / "export"
    written = []
    for path, count in exported(question, folder, to, how=how, zipped=asked["gz"], replace=asked["replace"]):
        written.append({"path": str(path), "objects": count})
        if not in_json:
            click.echo(f"{path}: {count} objects")
    if in_json:
        as_json(written)


def _training(run: str, output: str | None, objects: str | None, db: str | None, *, in_json: bool) -> None:
    """Write what people drew and corrected as tables of tasks."""
    from coverslip.core.errors import MissingExtraError
    from coverslip.server import Library

    try:
        from coverslip.server.db import Database, Drawings, Record
        from coverslip.server.db.database import database_of
        from coverslip.server.training_set import TrainingSet
    except ImportError as error:
        raise MissingExtraError.of(str(error.name), "server") from error

    library = Library.of([run])
    database = Database(db or database_of(library))
    folder = Path(output) if output is not None else Path(run) / "training"
    written = TrainingSet(library, Drawings(database, Record(database)), folder, objects).write()
    database.close()
    library.close()
    found = [{"path": str(folder / f"{name}.csv"), "rows": rows} for name, rows in written.items() if rows]
    if in_json:
        as_json(found)
    for one in () if in_json else found:
        click.echo(f"{one['path']}: {one['rows']} rows")
