"""What MkDocs fills in when the pages are built, so that no page repeats by hand what the code knows.

A line ``<!-- generate: NAME -->`` is replaced by what `GENERATORS[NAME]` returns. Notebooks become pages with
their outputs: they are executed in a folder with phantom slides, unless ``extra.run_notebooks`` is false.
"""

from __future__ import annotations

import atexit
import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import nbformat
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

from coverslip.cli import main
from coverslip.core import errors
from coverslip.core.errors import RecipeError
from coverslip.measure.pathomics import PATHOMICS
from coverslip.measure.radiomics import FEATURES
from coverslip.models import ENCODERS
from coverslip.phantom import PhantomSpec, make, write_slide

ROOT = Path(__file__).parents[1]
PHANTOM = PhantomSpec(3000, 2400, artefacts=(("blur", 1), ("pen", 1), ("fold", 1), ("bubble", 1)))
ROOMS = (
    "slides",
    "annotations",
    "tissue",
    "stain",
    "tiles",
    "measure",
    "models",
    "cohort",
    "store",
    "pipeline",
    "phantom",
    "core",
)
MARK = re.compile(r"^<!-- generate: (\w+) -->$", re.MULTILINE)


# ------------------------------------------------------------------ MkDocs calls these
def on_pre_build(**_: Any) -> None:
    """Make the gallery when it is not there; ``make docs`` makes it anew each time."""
    if not (ROOT / "docs" / "gallery").is_dir():
        subprocess.run([sys.executable, str(ROOT / "docs" / "gallery.py")], check=True)


def on_files(files: Files, config: Any) -> Files:
    """Add a page for every notebook, and the pages that stand outside docs/."""
    for file in [f for f in files if f.src_uri.endswith(".ipynb")]:
        page = notebook_page(Path(file.abs_src_path or ""), run=config.extra.get("run_notebooks", True))
        files.append(File.generated(config, file.src_uri.replace(".ipynb", ".md"), content=page))
    for name, source in {"changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what is generated."""
    return MARK.sub(lambda match: GENERATORS[match[1]](), markdown)


# ------------------------------------------------------------------ tables of what the code knows
def commands() -> str:
    """Every command with its help."""
    return "\n\n".join(_command(main, "coverslip", depth=2))


def _command(command: click.Command, path: str, depth: int) -> Iterator[str]:
    context = click.Context(command, info_name=path, terminal_width=100, max_content_width=100)
    yield f"{'#' * depth} `{path}`\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, f"{path} {name}", depth + 1)


def pathomics() -> str:
    """One row per measurement."""
    rows = [f"| `{m.name}` | {m.unit or ''} | {m.description} | {m.source} |" for m in PATHOMICS]
    head = f"{len(rows)} measurements.\n\n| name | unit | what it is | source |\n|---|---|---|---|"
    return "\n".join([head, *rows])


def radiomics() -> str:
    """One row per feature of the image biomarker initiative."""
    rows = [f"| {f.family} | {f.name} | {f.code} | {f.unit} | {_escape(f.definition)} |" for f in FEATURES]
    head = "| family | feature | IBSI code | unit | definition |\n|---|---|---|---|---|"
    return "\n".join([f"{len(rows)} features.\n", head, *rows])


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def error_tree() -> str:
    """The tree of errors."""
    return (
        "```text\n"
        + inspect.cleandoc((errors.__doc__ or "").split("::\n")[1].split("\nAn error")[0])
        + "\n```"
    )


def stages() -> str:
    """Built-in stages: name, version, what they read and write, parameters."""
    rows = ["| stage | version | reads | writes | parameters and defaults |", "|---|---|---|---|---|"]
    for point in sorted(entry_points(group="coverslip.stages"), key=lambda p: p.name):
        kind = point.load()
        values = ", ".join(f"`{one.name}={one.default!r}`" for one in dataclasses.fields(kind) if one.init)
        try:
            stage = kind()
        except RecipeError:  # it is nothing without a model
            rows.append(
                f"| `{point.name}` | {kind.version} | as its model says | as its model says | {values} |"
            )
            continue
        reads, writes = (", ".join(f"`{key}`" for key in keys) for keys in (stage.reads(), stage.writes()))
        rows.append(f"| `{point.name}` | {stage.version} | {reads or '–'} | {writes} | {values or '–'} |")
    return "\n".join(rows)


def readers() -> str:
    """Built-in readers and what each needs."""
    rows = ["| reader | formats | needs |", "|---|---|---|"]
    for point in sorted(entry_points(group="coverslip.readers"), key=lambda p: p.name):
        reader = point.load()
        rows.append(f"| `{point.name}` | {reader.formats} | {reader.needs} |")
    return "\n".join(rows)


def encoders() -> str:
    """One row per encoder's card."""
    rows = ["| encoder | features | tile | mpp | licence | commercial use | cite |", "|---" * 7 + "|"]
    for card in ENCODERS.values():
        tile = f"{card.tile_px} px" + (" or other" if card.any_size else "")
        use = "yes" if card.commercial_use else "no"
        scales = ", ".join(f"{mpp:g}" for mpp in (card.mpp, *card.also_mpp) if mpp) or "–"
        name = f"`{card.id}`" + (" (a card alone)" if card.unavailable else "")
        rows.append(f"| {name} | {card.dim} | {tile} | {scales} | {card.licence} | {use} | {card.cite} |")
    return "\n".join(rows)


def python_api() -> str:
    """What each room exports, for mkdocstrings to fill in."""
    parts = []
    for room in ROOMS:
        module = import_module(f"coverslip.{room}")
        if names := [name for name in module.__all__ if inspect.isroutine(getattr(module, name)) or
                     inspect.isclass(getattr(module, name))]:  # fmt: skip
            parts.append(f"## coverslip.{room}\n\n{(module.__doc__ or '').strip()}")
            parts += [f"::: coverslip.{room}.{name}" for name in names]
    return "\n\n".join(parts)


GENERATORS = {
    "commands": commands,
    "pathomics": pathomics,
    "radiomics": radiomics,
    "encoders": encoders,
    "errors": error_tree,
    "stages": stages,
    "readers": readers,
    "python": python_api,
}


# ------------------------------------------------------------------ notebooks
def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in `folder`; raises when a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def notebook_page(path: Path, *, run: bool = True) -> str:
    """Return a notebook as Markdown, executed and with its outputs when `run`."""
    if run:
        with tempfile.TemporaryDirectory() as folder:
            phantom_slides(Path(folder) / "slides")
            cells = execute(path, Path(folder)).cells
    else:
        cells = nbformat.read(path, as_version=4).cells
    link = f"[This page as a notebook]({path.name})"
    return "\n\n".join([*(part for cell in cells for part in _cell(cell)), f"---\n\n{link}"])


def _cell(cell: nbformat.NotebookNode) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source
        return
    yield f"```python\n{cell.source}\n```"
    for output in cell.get("outputs", ()):
        if shown := _output(output):
            yield f'<div class="notebook-output">\n{shown}\n</div>'


def _output(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "text/html" in data:
        return re.sub(r"\n\s*\n", "\n", data["text/html"])
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f'<img alt="output" src="data:{kind};base64,{data[kind].strip()}">'
    text = data.get("text/plain", "")
    return f"<pre>{text.replace('&', '&amp;').replace('<', '&lt;')}</pre>" if text.strip() else ""


# ------------------------------------------------------------------ slides for docs and their tests
@cache
def _painted() -> tempfile.TemporaryDirectory[str]:
    """Two phantom slides, painted once per process; the folder goes with it."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    for seed in (1, 2):
        write_slide(make(PHANTOM, seed), Path(folder.name) / f"phantom-{seed}.svs")
    return folder


def phantom_slides(folder: Path) -> Path:
    """Put phantom-1.svs and phantom-2.svs into `folder`."""
    shutil.copytree(_painted().name, folder, dirs_exist_ok=True)
    return folder
