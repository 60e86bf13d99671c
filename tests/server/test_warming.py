"""What is made ready before anybody looks."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coverslip.server import Library, warming
from coverslip.server.access import TokenDoor
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database
from coverslip.server.overlays import gather
from coverslip.server.shown import AS_STORED


def test_the_first_slide_and_its_objects_are_at_hand(
    viewed_run: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "LATER_S", 0.0)
    app = make_app(Site(Library.of([str(viewed_run)]), database, TokenDoor("x"), hosts=None))
    warming.warm(app.service, app.overlays)
    with app.service.library.at_hand("a slide") as pyramid:
        assert pyramid is not None, "the first slide is open"
        coarsest = pyramid.levels[-1].index
    assert app.service.cache.get(("a slide", (coarsest, 0, 0), AS_STORED)) is not None
    assert app.service.thumbnails.get(("a slide", warming.LISTED)) is not None
    opened: list[str] = []
    monkeypatch.setattr(gather, "ObjectIndex", lambda objects: opened.append(objects.path.stem))
    assert len(app.overlays.objects("a slide", "nuclei")) == 5000
    assert opened == [], "it was indexed before"


def test_a_slide_that_has_gone_stops_nothing(
    tmp_path: Path, slide_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "LATER_S", 0.0)
    gone = Path(shutil.copy(slide_path, tmp_path / "gone.tif"))
    app = make_app(Site(Library.of([str(gone)]), database, TokenDoor("x"), hosts=None))
    gone.unlink()
    warming.warm(app.service, app.overlays)
    assert app.service.cache.held == 0


def test_the_server_ends_without_waiting_for_it(
    library: Library, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, may_end, daemons = make_app(Site(library, database, TokenDoor("x"))), threading.Event(), []
    monkeypatch.setattr(
        warming, "warm", lambda *_: daemons.append(threading.current_thread().daemon) or may_end.set()
    )
    warming.start(app.service, app.overlays)
    assert may_end.wait(10)
    assert daemons == [True]


def test_a_rehearsal_reaches_the_framework(
    library: Library, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(Site(library, database, TokenDoor("x")))
    reached: list[str] = []
    inner = app.rest.app

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await inner(scope, receive, send)

    monkeypatch.setattr(app.rest, "app", watched)
    with ThreadPoolExecutor(1) as apart:  # a browser's test before may have left this thread a loop that runs
        apart.submit(asyncio.run, warming.rehearse(app, "127.0.0.1")).result()
    assert reached == ["/assets/none"]


def test_small_thumbnails_look_like_the_slide(library: Library, database: Database) -> None:
    app = make_app(Site(library, database, TokenDoor("x")))
    made = Image.open(io.BytesIO(app.service.thumbnail("a slide", 128)))
    assert made.size == (128, 91)
    with library.use("a slide") as pyramid:
        wanted = pyramid.slide.thumbnail(128)
    assert np.abs(np.asarray(made, int)[:91] - wanted[:91].astype(int)).mean() < 6


def test_a_first_look_at_objects_needs_no_pandas(viewed_run: Path) -> None:
    code = f"""
import sys
from coverslip.core import Box
from coverslip.server.overlays.objects import EVERYTHING, ObjectIndex
from coverslip.store import RunFolder
index = ObjectIndex(RunFolder({str(viewed_run)!r}).get("a slide", "objects/nuclei"))
index.facts(EVERYTHING), index.values("area_um2"), index.drawn((0, 0), 8.0, EVERYTHING)
index.drawn((0, 0), 0.5, EVERYTHING)
sys.exit("pandas" in sys.modules or "numba" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
