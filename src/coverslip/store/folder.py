"""A run on disk: results by slide and key, each whole, typed and with its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from coverslip.core.errors import ExistsError, StoreError, UsageError
from coverslip.store import layout, log, writing
from coverslip.store.header import Header, read_header
from coverslip.store.kinds.base import Kind, read_json, write_json
from coverslip.store.log import Event
from coverslip.store.provenance import Provenance, SlideRoot
from coverslip.store.streams import STREAMS

RUN_JSON, LOG = "run.json", "log.jsonl"
RUN = Kind(
    "run", 1, (".json",), lambda paths, value, header: write_json(paths[0], header, value), lambda p, _: p
)


class RunFolder:
    """Results of one run.

    ``RunFolder(path)`` opens a run, `RunFolder.create` makes or continues one. Everything is written under a
    temporary name and renamed, so each file is whole or not there; nothing is overwritten unless asked.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    StoreError
        When the folder holds no run, or one of a later version.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = RunFolder.create(folder + "/run")
    ...     made = Provenance.make("example", 1, parameters={}, inputs={}, slide=None)
    ...     run.put("a", "slide", {"width": 100}, provenance=made)
    ...     run.get("a", "slide"), run.slides()
    ({'width': 100}, ('a',))
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        file = self.path / RUN_JSON
        if not file.is_file():
            raise StoreError(f"{path} holds no run: {RUN_JSON} is missing", mend="give the folder of -o RUN")
        RUN.check(read_header(file), file)

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Open the run at `path`, or make an empty one.

        Raises
        ------
        UsageError
            When `path` is a file, or a folder that holds other things.
        StoreError
            When it holds a run of a later version, or cannot be written.
        """
        folder = Path(path)
        if folder.exists() and not folder.is_dir():
            raise UsageError(
                f"{path} is a file; expected a folder for the results", mend="choose another -o RUN"
            )
        if not (folder / RUN_JSON).exists():
            refuse_foreign(folder)
            made = Provenance.make("run", 1, parameters={}, inputs={}, slide=None)
            _write_run(folder, {"slides": []}, made)
        return cls(folder)

    # ------------------------------------------------------------------ the run
    @property
    def info(self) -> dict[str, Any]:
        """What ``run.json`` says: recipe, slides, versions."""
        return read_json(self.path / RUN_JSON)

    def set_info(self, info: Mapping[str, Any], provenance: Provenance) -> None:
        """Write ``run.json`` anew."""
        _write_run(self.path, info, provenance)

    def slides(self) -> tuple[str, ...]:
        """Return the ids of all slides: those of ``run.json``, then any other that has results."""
        named = [slide["id"] for slide in self.info.get("slides", ())]
        folder = self.path / "slides"
        found = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        return tuple(dict.fromkeys([*named, *found]))

    def log(self, event: Event) -> None:
        """Append an event to ``log.jsonl``."""
        log.append(self.path / LOG, event)

    def events(self) -> list[Event]:
        """Return all events, oldest first."""
        return log.read(self.path / LOG)[0]

    # ------------------------------------------------------------------ artefacts
    def path_of(self, slide_id: str | None, key: str) -> Path:
        """Return where an artefact of a slide (of the run, if None) lies, whether it is there or not."""
        return layout.find(self.path, slide_id, key).path

    def keys(self, slide_id: str | None) -> tuple[str, ...]:
        """Return the keys of all artefacts of a slide (of the run, if None)."""
        return tuple(layout.keys_of(self.path, slide_id))

    def has(self, slide_id: str | None, key: str) -> bool:
        """Say whether an artefact is there, whole."""
        return all(path.exists() for path in layout.find(self.path, slide_id, key).paths)

    def provenance(self, slide_id: str | None, key: str) -> Provenance:
        """Return where an artefact comes from, without reading its data.

        Raises
        ------
        StoreError
            When it is not there, damaged, or of another type or version.
        """
        return self._header(layout.find(self.path, slide_id, key)).provenance

    def fingerprint(self, slide_id: str | None, key: str) -> str | None:
        """Return the artefact's fingerprint; None when there is none that this release can read."""
        try:
            return self.provenance(slide_id, key).fingerprint
        except StoreError:
            return None

    def get(self, slide_id: str | None, key: str) -> Any:
        """Read an artefact.

        Raises
        ------
        StoreError
            When it is not there, damaged, or of another type or version.
        """
        place = layout.find(self.path, slide_id, key)
        header = self._header(place)
        return place.kind.read(place.paths, header)

    def put(
        self, slide_id: str | None, key: str, value: Any, *, provenance: Provenance, replace: bool = False
    ) -> None:
        """Write an artefact.

        Parameters
        ----------
        value
            Of the type that `get` returns for this key. A `FeatureStream` or `ObjectStream` is written as it
            comes, after what an interrupted run left of the same result.
        replace
            Overwrite an artefact that is there.

        Raises
        ------
        ExistsError
            When it is there and `replace` is False.
        StoreError
            When the disk is full, or a stream ends early.
        """
        place = layout.find(self.path, slide_id, key)
        if not replace and place.path.exists():
            raise ExistsError(f"{place.path} is there already", mend="choose another folder, or replace=True")
        header = Header(place.kind.type, place.kind.version, provenance)
        if isinstance(value, STREAMS):
            _put_stream(place, value, header)
            return
        with writing.whole(place.paths) as partials:
            place.kind.write(partials, value, header)

    def kept(self, slide_id: str, key: str, fingerprint: str) -> int:
        """Return how far an interrupted run came with the streamed artefact of this fingerprint.

        In rows of features or parts of objects; 0 for an artefact that is not streamed.
        """
        place = layout.find(self.path, slide_id, key)
        return place.kind.kept(writing.stream_path(place.path), fingerprint) if place.kind.kept else 0

    def discard(self, slide_id: str | None, key: str) -> None:
        """Remove an artefact, if it is there."""
        for path in layout.find(self.path, slide_id, key).paths:
            writing.remove(path)

    def sweep(self, slide_id: str) -> None:
        """Remove what interrupted writers left of a slide; streams stay, to be resumed."""
        writing.sweep(self.path / "slides" / layout.checked_id(slide_id))

    def root(self, slide_id: str) -> SlideRoot | None:
        """Return what identifies the slide that the results were made of; None when it was never opened."""
        try:
            return self.provenance(slide_id, "slide").slide
        except StoreError:
            return None

    def _header(self, place: layout.Place) -> Header:
        if not place.path.exists():
            raise StoreError(f"{place.path} is not there", mend=f"run the stage that writes {place.key!r}")
        header = read_header(place.path)
        place.kind.check(header, place.path)
        return header

    def _repr_html_(self) -> str:
        from coverslip.store.show import run_html

        return run_html(self)

    def __repr__(self) -> str:
        return f"<RunFolder {self.path}: {len(self.slides())} slide(s)>"


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds other things than a run.

    Raises
    ------
    UsageError
        When it holds any file that is not hidden.
    """
    inside = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
    if inside:
        some = ", ".join(inside[:3]) + (", …" if len(inside) > 3 else "")
        raise UsageError(
            f"{folder} holds other files ({some}) and no run",
            mend="give a new or empty folder with -o",
        )


def _put_stream(place: layout.Place, stream: Any, header: Header) -> None:
    if place.kind.write_stream is None:
        raise StoreError(f"{place.key} cannot be streamed: expected the whole value")
    partial = writing.stream_path(place.path)
    with writing.disk_full_said(place.path):
        place.path.parent.mkdir(parents=True, exist_ok=True)
        writing.settle(place.kind.write_stream(partial, stream, header), place.path)
        writing.remove(partial)


def _write_run(folder: Path, info: Mapping[str, Any], provenance: Provenance) -> None:
    with writing.whole((folder / RUN_JSON,)) as (partial,):
        write_json(partial, Header(RUN.type, RUN.version, provenance), info)
