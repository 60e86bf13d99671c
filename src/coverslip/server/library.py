"""The slides that are served: found once, opened when looked at, closed when others are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

from coverslip.core import unknown
from coverslip.core.errors import SlideNotFoundError, UsageError
from coverslip.server.pyramid import Pyramid
from coverslip.slides import find_slides, open_slide
from coverslip.slides.source import is_url
from coverslip.store import RunFolder
from coverslip.store.folder import LOG
from coverslip.store.log import read

OPEN_AT_ONCE = 32
"""Slides that are kept open; the one looked at longest ago is closed for the next."""


@dataclass(frozen=True)
class Entry:
    """A slide that is served.

    Attributes
    ----------
    id
        Its name in addresses; unique in the library.
    path
        Of the file, or None when a run does not say.
    mpp
        Microns per pixel of level 0 that the user states, or None.
    run
        The run that holds results of it, or None.
    """

    id: str
    path: str | None
    mpp: float | None = None
    run: RunFolder | None = None


@dataclass
class _Open:
    pyramid: Pyramid
    stamp: tuple[int, int] | None
    users: int = 0
    gone: bool = False


class Library:
    """Slides by id, opened when needed. Safe to use from several threads.

    Parameters
    ----------
    entries
        The slides.
    open_at_once
        How many are kept open.

    Raises
    ------
    UsageError
        When two slides have the same id, or there is none.
    """

    def __init__(self, entries: Iterable[Entry], *, open_at_once: int = OPEN_AT_ONCE) -> None:
        self.entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.id in self.entries:
                raise UsageError(
                    f"two slides are called {entry.id!r}: {self.entries[entry.id].path} and {entry.path}",
                    mend="view them one after the other, or rename one",
                )
            self.entries[entry.id] = entry
        if not self.entries:
            raise UsageError("there is no slide to view", mend="name a run, a slide or a folder of slides")
        self._limit = open_at_once
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._lock = Lock()
        self._opening: dict[str, Lock] = {}

    @classmethod
    def of(cls, places: Sequence[str], *, mpp: float | None = None) -> Library:
        """Make a library of runs, slides and folders of slides.

        Parameters
        ----------
        places
            Runs (folders with a ``run.json``), slides, folders or addresses.
        mpp
            Microns per pixel of level 0, for slides that state none or a wrong one.

        Raises
        ------
        UsageError
            When nothing is named, or two slides have the same id.
        SlideNotFoundError
            When a place is not there.
        """
        runs = [place for place in places if (Path(place) / "run.json").is_file()]
        others = [place for place in places if place not in runs]
        entries = [entry for run in runs for entry in entries_of(RunFolder(run), mpp)]
        if others:
            entries += [Entry(found.id, found.path, mpp or found.mpp) for found in find_slides(others)]
        return cls(entries)

    def entry(self, slide_id: str) -> Entry:
        """Return an entry.

        Raises
        ------
        UnknownNameError
            When there is no such slide.
        """
        if slide_id not in self.entries:
            raise unknown("slide", slide_id, self.entries)
        return self.entries[slide_id]

    @contextmanager
    def at_hand(self, slide_id: str) -> Iterator[Pyramid | None]:
        """Hold a slide that is open already; None when it is not. Never waits."""
        with self._lock:
            held = self._open.get(slide_id)
            if held is not None:
                held.users += 1
        try:
            yield None if held is None else held.pyramid
        finally:
            if held is not None:
                self._release(held)

    @contextmanager
    def use(self, slide_id: str) -> Iterator[Pyramid]:
        """Open a slide if need be, and keep it open within.

        Raises
        ------
        UnknownNameError
            When there is no such slide.
        SlideNotFoundError
            When its file has gone.
        SlideError
            When it cannot be opened.
        """
        held = self._take(slide_id)
        try:
            yield held.pyramid
        finally:
            self._release(held)

    def close(self) -> None:
        """Close all slides."""
        with self._lock:
            for held in self._open.values():
                self._drop(held)
            self._open.clear()

    # ------------------------------------------------------------------ opening
    def _take(self, slide_id: str) -> _Open:
        entry = self.entry(slide_id)
        with self._lock:
            mine = self._opening.setdefault(slide_id, Lock())
        with mine:  # two who ask for the same slide open it once; others do not wait
            with self._lock:
                held = self._open.get(slide_id)
                if held is not None and held.stamp == stamp_of(entry.path):
                    self._open.move_to_end(slide_id)
                    held.users += 1
                    return held
            fresh = self._opened(entry)
            with self._lock:
                if held is not None and self._open.get(slide_id) is held:
                    self._drop(self._open.pop(slide_id))
                fresh.users = 1
                self._open[slide_id] = fresh
                while len(self._open) > self._limit:
                    self._drop(self._open.popitem(last=False)[1])
                return fresh

    def _opened(self, entry: Entry) -> _Open:
        if entry.path is None:
            raise SlideNotFoundError(
                f"the run does not say where the slide {entry.id} lies", mend="view the slide itself"
            )
        stamp = stamp_of(entry.path)
        if stamp is None and not is_url(entry.path):
            raise SlideNotFoundError(
                f"the slide {entry.id} has gone: there is no file {entry.path}",
                mend="put it back, or leave it out of the list",
            )
        slide = open_slide(entry.path, mpp=entry.mpp)
        slide.id = entry.id
        return _Open(Pyramid(slide), stamp)

    def _release(self, held: _Open) -> None:
        with self._lock:
            held.users -= 1
            if held.gone and not held.users:
                held.pyramid.slide.close()

    def _drop(self, held: _Open) -> None:
        """Close a slide, or have its last user close it."""
        held.gone = True
        if not held.users:
            held.pyramid.slide.close()


def entries_of(run: RunFolder, mpp: float | None = None) -> list[Entry]:
    """Return the slides of a run, with the scale that the run was made at."""
    told = {slide["id"]: slide for slide in run.info.get("slides", ())}
    entries = []
    for slide_id in run.slides():
        said = told.get(slide_id, {})
        entries.append(Entry(slide_id, located(said.get("path"), run), mpp or said.get("mpp"), run))
    return entries


def located(path: str | None, run: RunFolder) -> str | None:
    """Return where a slide of a run lies now.

    A run may name slides relative to the folder it was started in, which lies above the run as a rule.
    """
    if path is None or is_url(path) or Path(path).is_absolute() or Path(path).exists():
        return path
    above = (folder / path for folder in run.path.absolute().parents)
    return next((str(place) for place in above if place.exists()), path)


def stamp_of(path: str | None) -> tuple[int, int] | None:
    """Return what changes when a file is replaced: inode and time of change; None when it is not there."""
    try:
        found = Path(path or "").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=16)
def _failures(log: Path, _stamp: tuple[int, int] | None) -> Mapping[str, str]:
    """Return the failures that a log ends with, by slide; read anew when the file has changed."""
    events, _ = read(log)
    last = {event.slide: event for event in events if event.slide is not None}
    return {
        slide: event.message or event.error or "the reason was not recorded"
        for slide, event in last.items()
        if event.status == "failed"
    }


def failure_of(entry: Entry) -> str | None:
    """Return why a slide went no further in its run; None where the last event of it is no failure."""
    if entry.run is None:
        return None
    log = entry.run.path / LOG
    return _failures(log, stamp_of(str(log))).get(entry.id)
