"""``coverslip predict``: a trained model on plain pictures."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json
from coverslip.core import unknown
from coverslip.core.errors import UsageError

PREDICTORS: dict[str, str] = {
    "classify/tiles": "coverslip.learn.classify.predict:predict_pictures",
    "classify/slide": "coverslip.learn.classify.predict:predict_pictures",
    "segment": "coverslip.learn.segment.predict:predict_pictures",
    "detect": "coverslip.learn.detect.predict:predict_pictures",
    "nuclei": "coverslip.learn.nuclei.predict:predict_pictures",
}
"""Task of a model's card → the function that applies it: ``predict(model, images, out, options)``.

`model` is a `coverslip.models.folder.ModelFolder`, `images` the paths given, `out` the file or folder of
``-o``, `options` a mapping of ``device`` and ``threads``, and of ``mpp`` where given; it returns JSON types,
with ``pictures`` and ``failed``, a list of ``{"path", "message"}``.
"""

SHIPPED = {"nuclei": "coverslip.models.nuclei.detector:SHIPPED"}
"""Models that come with the package, by name; ``./nuclei`` is a folder of that name."""


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES…")
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="FILE",
    help="What to write: of a classifier a CSV, of nuclei a folder of label images.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=int, default=2, show_default=True, help="CPU threads.")
@click.option("--mpp", type=float, help="Microns per pixel; of nuclei by default judged from their size.")
@json_option
@click.pass_context
def predict(
    context: click.Context, /, model: str, images: tuple[str, ...], out: str, in_json: bool, **options: Any
) -> None:
    """Apply MODEL, a folder that coverslip train wrote, or nuclei, to plain pictures.

    IMAGES are files, folders (searched through) or a CSV with a column path. Pictures that cannot be read are
    named and left out; the command then ends with 1.
    """
    from coverslip.models.folder import ModelFolder

    folder = ModelFolder.load(shipped(model))
    if options["mpp"] is None:
        del options["mpp"]
    elif folder.card.task != "nuclei":
        raise UsageError("--mpp is for nuclei; this model takes pictures as they are", mend="leave it out")
    found = predictor_of(folder.card.task)(folder, list(images), out, options)
    for failure in found["failed"]:
        click.echo(f"{failure['path']}: {failure['message']}", err=True)
    if in_json:
        as_json(found)
    else:
        click.echo(f"{found['pictures']} pictures: {out}")
    context.exit(1 if found["failed"] else 0)


def shipped(model: str) -> str:
    """Return the folder of a model that comes with the package; any other name is a folder itself."""
    if model not in SHIPPED:
        return model
    module, _, name = SHIPPED[model].partition(":")
    return str(getattr(import_module(module), name))


def predictor_of(task: str) -> Callable[..., dict[str, Any]]:
    """Return what applies a model of `task` to pictures.

    Raises
    ------
    UsageError
        When such models are not for plain pictures.
    """
    if task not in PREDICTORS:
        error = unknown("predictor of plain pictures for", task, PREDICTORS)
        raise UsageError(f"a model for {task} does not read plain pictures", mend=error.mend)
    module, _, name = PREDICTORS[task].partition(":")
    found: Callable[..., dict[str, Any]] = getattr(import_module(module), name)
    return found
