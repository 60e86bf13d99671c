"""Finding slides: files, folders, addresses and tables that a user names, as one list without doubles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coverslip.core import Mpp
from coverslip.core.errors import SlideError, SlideNotFoundError, UsageError
from coverslip.core.files import PARTIAL
from coverslip.slides.digest import companion_folder
from coverslip.slides.heads import is_dicom, is_tiff
from coverslip.slides.slide import slide_id
from coverslip.slides.source import head_of, is_url
from coverslip.slides.tables import read_cohort

SLIDES = frozenset(
    [
        ".svs",
        ".tif",
        ".tiff",
        ".btf",
        ".tf2",
        ".tf8",
        ".qptiff",
        ".ndpi",
        ".scn",
        ".mrxs",
        ".bif",
        ".vms",
        ".vmu",
        ".svslide",
        ".vsi",
        ".dcm",
        ".dicom",
    ]
)
"""Endings of slides; a file with one is listed even when it cannot be opened, to fail with a reason."""

PICTURES = frozenset([".jpg", ".jpeg", ".png", ".webp"])

UNFINISHED = (PARTIAL, ".part", ".crdownload", ".download", ".tmp", ".swp")

IDS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SlideSource:
    """A slide to be opened.

    Attributes
    ----------
    id
        The name under which results are kept: the file's name without its ending.
    path
        A file, a folder of DICOM instances, or an address.
    mpp
        Microns per pixel as a cohort table gives them, or None.
    case
        The case to which a cohort table says the slide belongs, or None: a case of its own.
    """

    id: str
    path: str
    mpp: Mpp | None = None
    case: str | None = None


def find_slides(paths: Sequence[str | os.PathLike[str]]) -> list[SlideSource]:
    """Find the slides that `paths` name.

    A folder is searched through, hidden and unfinished files and the companion folders of MRXS and VSI left
    out; the DICOM instances of one series are one slide; plain pictures (JPEG, PNG, WebP) in a folder count
    only when nothing else is found there, since beside slides they are thumbnails and figures. A ``.csv``
    is a cohort of ``slide,path[,mpp][,case]``.

    Parameters
    ----------
    paths
        Files, folders, addresses and cohort tables.

    Returns
    -------
    Sources in the order of `paths`, each folder sorted by name; a file named twice is listed once.

    Raises
    ------
    SlideNotFoundError
        When a path leads nowhere, or a folder holds no slide.
    UsageError
        When no path is given, or two slides have the same id.
    """
    if not paths:
        raise UsageError("no slide is named", mend="name files, folders, addresses or a CSV of slide,path")
    found: dict[str, SlideSource] = {}
    for path in paths:
        for source in _sources(os.fspath(path)):
            found.setdefault(_real(source.path), source)
    return _without_doubles(list(found.values()))


def _real(path: str) -> str:
    return path if is_url(path) else str(Path(path).resolve())


def _sources(path: str) -> Iterable[SlideSource]:
    if is_url(path):
        return [SlideSource(slide_id(path), path)]
    place = Path(path)
    if not place.exists():
        raise SlideNotFoundError(f"there is nothing at {path}", mend="check the path")
    if place.is_dir():
        return _in_folder(place)
    if place.suffix.lower() == ".csv":
        return [SlideSource(row.slide, row.path, row.mpp, row.case) for row in read_cohort(place)]
    return [SlideSource(slide_id(path), path)]


def _without_doubles(sources: list[SlideSource]) -> list[SlideSource]:
    first: dict[str, SlideSource] = {}
    doubles = []
    for source in sources:
        other = first.setdefault(source.id.casefold(), source)
        if other is not source:
            doubles.append(f"{source.id!r} is both {other.path} and {source.path}")
    if doubles:
        more = f", and {len(doubles) - IDS_SHOWN} more" if len(doubles) > IDS_SHOWN else ""
        raise UsageError(
            f"two slides have the same id: {'; '.join(doubles[:IDS_SHOWN])}{more}",
            mend="give each an id of its own in a CSV of slide,path and name that instead",
        )
    return sources


# ------------------------------------------------------------------- folders
def _in_folder(folder: Path) -> list[SlideSource]:
    files = [file for file in _walk(folder) if not file.name.endswith(UNFINISHED)]
    slides = [file for file in files if file.suffix.lower() in SLIDES or _looks_like_a_slide(file)]
    slides = slides or [file for file in files if file.suffix.lower() in PICTURES]
    if not slides:
        raise SlideNotFoundError(
            f"there is no slide in the folder {folder} ({len(files)} other files)",
            mend="`coverslip doctor` lists the formats",
        )
    dicom = [file for file in slides if _is_dicom(file)]
    grouped = set(dicom)
    plain = [SlideSource(slide_id(str(file)), str(file)) for file in slides if file not in grouped]
    return sorted(plain + _series(dicom), key=lambda source: source.path)


def _walk(folder: Path) -> Iterator[Path]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    companions = {companion_folder(entry) for entry in entries if entry.is_file()}
    for entry in entries:
        if entry.is_file():
            yield entry
        elif entry.is_dir() and entry not in companions:
            yield from _walk(entry)


def _head(file: Path) -> bytes:
    try:
        return head_of(str(file), 132)
    except SlideError:
        return b""


def _looks_like_a_slide(file: Path) -> bool:
    head = _head(file)
    return is_tiff(head) or head[128:132] == b"DICM"


def _is_dicom(file: Path) -> bool:
    return is_dicom(_head(file))


def _series(files: list[Path]) -> list[SlideSource]:
    """Group DICOM instances by folder and series; a folder that holds one series only is itself the slide."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        groups.setdefault((file.parent, _series_of(file)), []).append(file)
    alone = {folder: sum(1 for other, _ in groups if other == folder) == 1 for folder, _ in groups}
    sources = []
    for (folder, _), members in groups.items():
        path = str(folder if len(members) > 1 and alone[folder] else members[0])
        sources.append(SlideSource(slide_id(path), path))
    return sources


def _series_of(file: Path) -> str:
    from coverslip.slides.dicom import series_uid

    return series_uid(file) or str(file)
