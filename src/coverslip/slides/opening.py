"""Opening a slide: every reader looks at the first bytes, the best one opens."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from coverslip.core import load_plugin, plugins
from coverslip.core.errors import SlideNotFoundError, UnsupportedSlideError
from coverslip.slides.reader import HEAD_BYTES, Reader
from coverslip.slides.slide import Slide
from coverslip.slides.source import head_of, is_url

GROUP = "readers"


def open_slide(
    path: str | os.PathLike[str], *, mpp: float | None = None, reader: str | None = None, scene: int = 0
) -> Slide:
    """Open a slide.

    Parameters
    ----------
    path
        A file, a folder of DICOM instances, or an address that fsspec knows (``https://``, ``s3://``).
    mpp
        Microns per pixel of level 0, over what the file says.
    reader
        Name of the reader to use, and no other; by default the one that serves the file best.
    scene
        Which picture of a file that holds several.

    Raises
    ------
    SlideNotFoundError
        When nothing is there.
    UnsupportedSlideError
        When no reader can make pixels of it; the message says what each one said.
    CorruptSlideError
        When the format is known, but the content is damaged.
    ImplausibleMppError
        When `mpp` cannot be one.
    """
    name = os.fspath(path)
    if not is_url(name) and not Path(name).exists():
        raise SlideNotFoundError(f"there is no file {name}", mend="check the path")
    if reader is not None:
        chosen: type[Reader] = load_plugin(GROUP, reader)
        return _slide(name, (chosen.open(name, scene=scene), []), mpp)
    return _slide(name, _open_best(name, scene), mpp)


def _slide(path: str, opened: tuple[Reader, list[str]], mpp: float | None) -> Slide:
    reader, refusals = opened
    try:
        return Slide(path, reader, mpp=mpp, notes=tuple(f"refused by reader {text}" for text in refusals))
    except BaseException:
        reader.close()
        raise


def _open_best(path: str, scene: int) -> tuple[Reader, list[str]]:
    """Return the best reader that opens the file, and what better ones said."""
    head = b"" if Path(path).is_dir() else head_of(path, HEAD_BYTES)
    if not head and not Path(path).is_dir():
        raise UnsupportedSlideError(f"{path} is empty (zero bytes)", mend="copy the file anew")
    readers, said = ranked(path, head)
    mend = None
    for reader in readers:
        try:
            return reader.open(path, scene=scene), said
        except UnsupportedSlideError as error:
            said.append(f"{reader.name}: {error.message}")
            mend = mend or error.mend
    reasons = "; ".join(said) if said else f"no reader knows a file that starts with {head[:8]!r}"
    raise UnsupportedSlideError(
        f"{path} cannot be opened ({reasons})", mend=mend or "`coverslip doctor` lists the formats"
    )


def ranked(path: str, head: bytes) -> tuple[list[type[Reader]], list[str]]:
    """Return the readers that know the file, best first, and what is wrong with those not importable."""
    scores: list[tuple[float, str, type[Reader]]] = []
    broken: list[str] = []
    for name in plugins(GROUP):
        try:
            reader: type[Reader] = load_plugin(GROUP, name)
        except ImportError as error:
            broken.append(f"{name}: cannot be imported ({error})")
            continue
        scores.append((-reader.probe(path, head), name, reader))
    known = sorted((entry for entry in scores if entry[0] < 0), key=lambda entry: entry[:2])
    return [reader for _, _, reader in known], broken


def reader_report() -> list[dict[str, Any]]:
    """Return a row per reader for ``coverslip doctor``.

    Returns
    -------
    Rows of name, formats, needs, available, version (of the distribution that brings it), problem.
    """
    return [_report(name) for name in plugins(GROUP)]


def _report(name: str) -> dict[str, Any]:
    point = plugins(GROUP)[name]
    owner = point.dist.version if point.dist is not None else None
    row: dict[str, Any] = {
        "name": name,
        "formats": "",
        "needs": "",
        "available": False,
        "version": owner,
        "problem": "",
    }
    try:
        reader = point.load()
    except ImportError as error:
        return row | {"problem": f"cannot be imported: {error}"}
    missing = [need for need in _distributions(reader.needs) if not _installed(need)]
    problem = f"pip install {' '.join(missing)}" if missing else ""
    return row | {
        "formats": reader.formats,
        "needs": reader.needs,
        "available": not missing,
        "problem": problem,
    }


def _distributions(needs: str) -> list[str]:
    return [part.strip() for part in needs.split(",") if part.strip()]


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
