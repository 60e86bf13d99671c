"""Where each artefact lies in a run, as data: key, place, kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.store.kinds.base import Kind
from coverslip.store.kinds.evaluation import EVALUATION
from coverslip.store.kinds.features import FEATURES
from coverslip.store.kinds.maps import MAP
from coverslip.store.kinds.objects import OBJECTS
from coverslip.store.kinds.quality import QUALITY
from coverslip.store.kinds.slide import PAGE, SLIDE, THUMBNAIL
from coverslip.store.kinds.stain import STAIN
from coverslip.store.kinds.table import PREDICTIONS, TABLE
from coverslip.store.kinds.tiles import TILES
from coverslip.store.kinds.tissue import TISSUE

ANY = "*"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

OF_SLIDE: dict[str, tuple[str, Kind]] = {
    "slide": ("slides/{slide}/slide", SLIDE),
    "thumbnail": ("slides/{slide}/thumbnail", THUMBNAIL),
    "tissue": ("slides/{slide}/tissue", TISSUE),
    "quality": ("slides/{slide}/quality", QUALITY),
    "tiles": ("slides/{slide}/tiles", TILES),
    "tiles/*": ("slides/{slide}/tiles/{name}", TILES),
    "stain": ("slides/{slide}/stain", STAIN),
    "features/*": ("slides/{slide}/features/{name}", FEATURES),
    "maps/*": ("slides/{slide}/maps/{name}", MAP),
    "objects/*": ("slides/{slide}/objects/{name}", OBJECTS),
    "predictions/*": ("slides/{slide}/predictions/{name}", PREDICTIONS),
    "tables/*": ("slides/{slide}/tables/{name}", TABLE),
    "page": ("report/slides/{slide}", PAGE),
}
"""Artefacts of a slide; a key that ends in ``/*`` stands for any name there."""

OF_RUN: dict[str, tuple[str, Kind]] = {
    "report": ("report/index", PAGE),
    "evaluation": ("report/evaluation", PAGE),
    "predictions/*": ("predictions/{name}", PREDICTIONS),
    "evaluation/*": ("evaluation/{name}", EVALUATION),
}
"""Artefacts of the run as a whole."""


@dataclass(frozen=True, slots=True)
class Place:
    """Files and kind of one artefact; the first path is the one whose presence counts."""

    key: str
    paths: tuple[Path, ...]
    kind: Kind

    @property
    def path(self) -> Path:
        """The first file."""
        return self.paths[0]


def find(root: Path, slide_id: str | None, key: str) -> Place:
    """Return where `key` of a slide (of the run, if None) lies under `root`.

    Raises
    ------
    UnknownNameError
        When there is no such artefact.
    UsageError
        When slide or artefact have a name that cannot be a file's.

    Examples
    --------
    >>> find(Path("run"), "a", "features/pathomics").path.as_posix()
    'run/slides/a/features/pathomics.h5'
    """
    table = OF_RUN if slide_id is None else OF_SLIDE
    stem, kind = table[_pattern(table, key)]
    _, slash, name = key.partition("/")
    if slash and not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a result", mend="use letters, digits, '.', '_', '+' and '-'"
        )
    base = root / stem.format(slide="" if slide_id is None else checked_id(slide_id), name=name)
    return Place(key, tuple(base.with_name(base.name + suffix) for suffix in kind.suffixes), kind)


def _pattern(table: dict[str, tuple[str, Kind]], key: str) -> str:
    head, slash, _ = key.partition("/")
    pattern = f"{head}/{ANY}" if slash else key
    if pattern not in table:
        raise unknown("artefact", key, table)
    return pattern


def checked_id(slide_id: str) -> str:
    """Return `slide_id` if a folder can be called so.

    Raises
    ------
    UsageError
        For an empty one, and for one that would lead out of the run.
    """
    if not slide_id or slide_id.startswith(".") or any(c in slide_id for c in "/\\\0"):
        raise UsageError(
            f"{slide_id!r} cannot name a slide's folder: expected no slash and no leading dot",
            mend="give the slides other names with a CSV of slide,path",
        )
    return slide_id


def keys_of(root: Path, slide_id: str | None) -> Iterator[str]:
    """Yield the keys of all artefacts that are there."""
    for pattern in OF_RUN if slide_id is None else OF_SLIDE:
        if not pattern.endswith(ANY):
            if find(root, slide_id, pattern).path.exists():
                yield pattern
            continue
        head = pattern.removesuffix(ANY)
        sample = find(root, slide_id, head + "name")
        suffix = sample.kind.suffixes[0]
        for path in sorted(sample.path.parent.glob(f"*{suffix}")):
            if not path.name.startswith("."):
                yield head + path.name.removesuffix(suffix)
