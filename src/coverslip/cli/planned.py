"""What ``coverslip plan`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coverslip.cli.output import table

if TYPE_CHECKING:
    from coverslip.pipeline import Recipe
    from coverslip.pipeline.planning import Plan, PlannedStep


def show_tree(recipe: Recipe, plan: Plan) -> None:
    """Print the steps as a tree; with slides, how far each is and what it will take."""
    from coverslip.pipeline.planning import drawn

    click.echo(f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name)
    click.echo()
    names = drawn((_named(step), step.depth) for step in plan.steps)
    rows = [
        (name, " and ".join(step.limits), *(_far(step) if plan.left else ()))
        for name, step in zip(names, plan.steps, strict=True)
    ]
    limited = any(step.limits for step in plan.steps)
    head = ("step", "limited to what is", "slides", "tiles", "time")[: 5 if plan.left else 2]
    if limited or plan.left:
        table(head, rows)
    else:
        click.echo("\n".join(names))
    if plan.left:
        click.echo(f"\nin all {lasting(plan.seconds)}, one slide after the other")


def show_left(plan: Plan) -> None:
    """Print what is left to do for each slide."""
    click.echo()
    table(
        ("slide", "left to do"),
        [(slide, ", ".join(names) or "nothing") for slide, names in plan.left.items()],
    )


def _named(step: PlannedStep) -> str:
    return step.name if step.name == step.stage else f"{step.name} ({step.stage})"


def _far(step: PlannedStep) -> tuple[str, str, str]:
    counts = {"cached": step.cached, "stale": step.stale, "to do": step.to_do}
    slides = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if not step.stale + step.to_do:
        return slides, "", ""
    tiles = "" if step.tiles is None else f"{'at most' if step.at_most else 'about'} {step.tiles:,}"
    return slides, tiles, "" if step.seconds is None else lasting(step.seconds)


def lasting(seconds: float | None) -> str:
    """Say how long something takes.

    Examples
    --------
    >>> lasting(0.4), lasting(75), lasting(7320), lasting(None)
    ('0.4 s', '1 min 15 s', '2 h 2 min', 'time not known before a slide has run')
    """
    if seconds is None:
        return "time not known before a slide has run"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
