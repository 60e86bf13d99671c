"""``coverslip run``, ``plan`` and ``status``."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, table

if TYPE_CHECKING:
    from coverslip.pipeline import Recipe, RunResult, RunStatus
    from coverslip.slides import SlideSource

Command = Callable[..., Any]

SHOWN = 100
"""Characters of a failure in the table; stderr, `coverslip status` and the report have it whole."""

LONGEST = 100
"""Characters of a parameter that `coverslip plan` shows."""

recipe_argument = click.argument("recipe")
settings_option = click.option(
    "--set", "settings", multiple=True, metavar="STAGE.PARAMETER=VALUE", help="Set a parameter; repeatable."
)


def embed_options(command: Command) -> Command:
    """Add the options of the stage embed that are asked for most."""
    backend = click.option("--backend", help="What runs the encoder; the same as --set embed.backend=NAME.")
    encoder = click.option("--encoder", help="Which encoder; the same as --set embed.encoder=NAME.")
    return encoder(backend(command))


def scale_options(command: Command) -> Command:
    """Add the options that say a slide's scale."""
    table_of = click.option("--mpp-csv", help="A table of slide,mpp.")
    one = click.option("--mpp", help="Microns per pixel of all slides, over what the files say; or 20x.")
    return one(table_of(command))


@click.command()
@recipe_argument
@click.argument("slides", nargs=-1, required=True)
@click.option("-o", "--out", required=True, metavar="RUN", help="Folder for the results; a run goes on.")
@click.option("--workers", type=int, default=2, show_default=True, help="Processes; 0 for this one alone.")
@click.option("--cluster", metavar="ADDRESS", help="Address of a Dask scheduler that does the work.")
@scale_options
@embed_options
@settings_option
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def run(context: click.Context, /, recipe: str, slides: tuple[str, ...], **options: Any) -> None:
    """Take SLIDES through RECIPE and keep the results in RUN.

    RECIPE is a built-in one (survey), a YAML file, or a model folder that coverslip train wrote. SLIDES are
    files, folders, addresses, or a CSV of slide,path[,mpp]. Results that are there and hold are not made
    again, so the same command goes on after an interruption, and takes up what is new.
    """
    from coverslip.cli.progress import failure_line, listener
    from coverslip.pipeline import Execution, run_recipe

    chosen = _recipe(recipe, options)
    sources = _sources(slides, options["mpp"], options["mpp_csv"])
    execution = Execution(workers=options["workers"], cluster=options["cluster"])
    with _sigterm_as_ctrl_c(), listener(len(chosen.stages) + 1, quiet=options["quiet"]) as heard:
        result = run_recipe(chosen, sources, options["out"], execution=execution, listener=heard)
    for failure in result.finishing:
        click.echo(failure_line(None, failure), err=True)
    as_json(_plain(result)) if options["in_json"] else _show_result(result)
    context.exit(0 if result.ok else 1)


@click.command()
@recipe_argument
@click.argument("slides", nargs=-1)
@click.option("-o", "--out", metavar="RUN", help="Say what is left to do for SLIDES in this run.")
@scale_options
@embed_options
@settings_option
@json_option
def plan(recipe: str, slides: tuple[str, ...], **options: Any) -> None:
    """Show the tree of RECIPE and all parameters, and what is left to do for SLIDES; run nothing.

    For SLIDES it says of each step on how many its results are there (cached), were made otherwise (stale)
    or are missing (to do), how many tiles will reach it, and how long that takes as slides of RUN took.

    Of a TASK.yaml, instead of a RECIPE: check everything that training needs, and say what would be trained.
    """
    from coverslip.cli.train import is_task, plan_task

    if is_task(recipe):
        return plan_task(recipe, slides, in_json=options["in_json"])
    from coverslip.cli.planned import show_left, show_tree
    from coverslip.pipeline.planning import plan_of

    chosen = _recipe(recipe, options)
    sources = _sources(slides, options["mpp"], options["mpp_csv"]) if slides else []
    found = plan_of(chosen, sources, options["out"])
    if options["in_json"]:
        left = {slide: list(stages) for slide, stages in found.left.items()}
        return as_json(chosen.to_dict() | {"tree": [s.to_dict() for s in found.steps], "slides": left})
    show_tree(chosen, found)
    _show_recipe(chosen)
    if sources:
        show_left(found)
    return None


@click.command()
@click.argument("run", metavar="RUN")
@json_option
def status(run: str, in_json: bool) -> None:
    """Say how far RUN is: what is done, what failed and why."""
    from coverslip.pipeline import status_of
    from coverslip.store import RunFolder

    found = status_of(RunFolder(run))
    as_json(found.to_dict()) if in_json else _show_status(found)


# ------------------------------------------------------------------ arguments
def _recipe(name: str, options: dict[str, Any]) -> Recipe:
    from coverslip.pipeline.parameters import parse_setting

    settings = dict(map(parse_setting, options["settings"]))
    settings |= {f"embed.{key}": options[key] for key in ("encoder", "backend") if options[key] is not None}
    return _loaded(name).with_parameters(settings)


def _loaded(name: str) -> Recipe:
    """Load a recipe by name, of a file, or the one that applies a trained model."""
    from coverslip.models.folder import is_model_folder
    from coverslip.pipeline import Recipe

    if is_model_folder(name):
        from coverslip.pipeline.model_recipes import recipe_of_model

        return recipe_of_model(name)
    return Recipe.load(name)


def _sources(slides: tuple[str, ...], mpp: str | None, mpp_csv: str | None) -> list[SlideSource]:
    from coverslip.core import parse_mpp
    from coverslip.pipeline.sources import sources_of

    return sources_of(slides, mpp=None if mpp is None else parse_mpp(mpp), mpp_csv=mpp_csv)


class _sigterm_as_ctrl_c:  # noqa: N801 - used like a function
    """Treat what a batch system sends before it kills as Ctrl-C: workers are ended, the log says so."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def __exit__(self, *exc: object) -> None:
        signal.signal(signal.SIGTERM, self._before)


# ------------------------------------------------------------------ output
def _show_result(result: RunResult) -> None:
    rows = [(o.slide, o.status, _said(o)) for o in result.outcomes]
    table(("slide", "state", ""), rows)
    click.echo()
    done, failed = len(result.outcomes) - len(result.failed), len(result.failed)
    click.echo(f"{done} done, {failed} failed")
    page = result.run.path_of(None, "report")
    if page.exists():
        click.echo(f"report: {page}")


def _said(outcome: Any) -> str:
    if outcome.failure is not None:
        said = f"{outcome.failure.stage}: {outcome.failure.message}"
        return said if len(said) <= SHOWN else said[: SHOWN - 1] + "…"
    return "nothing to compute" if outcome.status == "fresh" else f"computed {', '.join(outcome.computed)}"


def _plain(result: RunResult) -> dict[str, Any]:
    page = result.run.path_of(None, "report")
    return {
        "run": str(result.run.path),
        "ok": result.ok,
        "report": str(page) if page.exists() else None,
        "slides": [
            {
                "slide": o.slide,
                "state": o.status,
                "computed": list(o.computed),
                "stage": o.failure and o.failure.stage,
                "error": o.failure and o.failure.error,
                "message": o.failure and o.failure.message,
                "mend": o.failure and o.failure.mend,
            }
            for o in result.outcomes
        ],
    }


def _show_recipe(recipe: Recipe) -> None:
    for record in recipe.records():
        click.echo(f"\n{record.name} (version {record.version})")
        click.echo(f"  {', '.join(record.reads) or 'the slide'} → {', '.join(record.writes)}")
        for name, value in record.parameters.items():
            said = "none" if value is None else str(value)
            click.echo(f"  {name}: {said if len(said) <= LONGEST else said[: LONGEST - 1] + '…'}")


def _show_status(found: RunStatus) -> None:
    click.echo(f"{found.path}: recipe {found.recipe}")
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items())
    click.echo(f"{len(found.slides)} slide(s): {counts}")
    rows = []
    for slide in found.slides:
        rest = [f"{stage} {state}" for stage, state in slide.stages.items() if state != "done"]
        rows.append((slide.slide, slide.state, ", ".join(rest)))
    click.echo()
    table(("slide", "state", "not done"), rows)
    for slide in found.slides:
        if slide.failure is not None:
            click.echo(f"\n{slide.slide} failed at {slide.failure.stage}: {slide.failure.message}")
            if slide.failure.mend:
                click.echo(f"  to mend: {slide.failure.mend}")
