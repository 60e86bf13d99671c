"""A library of small slides, and a client that is let in."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("fastapi", reason='the server is not installed: pip install "coverslip[server]"')
pytest.importorskip("httpx", reason="httpx is not installed")

from fastapi.testclient import TestClient

from coverslip.server import Library
from coverslip.server.access import TokenDoor
from coverslip.server.app import Site, make_app
from coverslip.server.db import Database

TOKEN = "t0ken"  # noqa: S105 - of a test
PAGE = Path(__file__).parents[2] / "src" / "coverslip" / "server" / "static" / "index.html"


def pixels_of(height: int, width: int) -> np.ndarray:
    """Return a picture in which every place has its own colour."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x // 8 % 256, y // 8 % 256, (x // 64 + y // 64) * 16 % 256], axis=2).astype(np.uint8)


def write_slide(path: Path, height: int = 1500, width: int = 2100) -> Path:
    """Write a tiled JPEG slide of one level."""
    tifffile.imwrite(
        path, pixels_of(height, width), tile=(256, 256), compression="jpeg", photometric="ycbcr",
        resolution=(20_000, 20_000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    return path


@pytest.fixture
def picture() -> Callable[[int, int], np.ndarray]:
    """Makes a picture in which every place has its own colour."""
    return pixels_of


@pytest.fixture
def jpeg_slide() -> Callable[..., Path]:
    """Writes a tiled JPEG slide of one level."""
    return write_slide


@pytest.fixture(scope="session")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 2,100 × 1,500 px."""
    return write_slide(tmp_path_factory.mktemp("slides") / "a slide.tif")


@pytest.fixture
def library(slide_path: Path) -> Iterator[Library]:
    """A library of that slide."""
    made = Library.of([str(slide_path)])
    yield made
    made.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    made = Database(str(tmp_path / "people.sqlite"))
    yield made
    made.close()


@pytest.fixture
def client(library: Library, database: Database) -> Iterator[TestClient]:
    """A browser that is logged in."""
    app = make_app(Site(library, database, TokenDoor(TOKEN), hosts=frozenset({"testserver"})))
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with as little work as there is."""
    from argon2 import PasswordHasher

    from coverslip.server.accounts import passwords

    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: quick)


# ---------------------------------------------------------------------- SQLite or PostgreSQL
def binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs."""
    found = shutil.which("pg_ctl")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "pg_ctl").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own; its address without a database."""
    place = binaries()
    if place is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    # not below pytest's own folder: another pytest of the same user shuts others out of it when it starts
    folder = Path(tempfile.mkdtemp(prefix="coverslip-postgres-"))
    as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "nobody", "nogroup")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: object) -> None:
        done = subprocess.run([*as_user, *command], check=False, capture_output=True, text=True, cwd=folder)
        log = folder / "log"
        said = log.read_text() if log.exists() else ""
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{said[-2000:]}"

    run(place / "initdb", "-D", folder / "data", "-U", "test", "-A", "trust")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = (place / "pg_ctl", "-D", folder / "data", "-w")
    run(*control, "-l", folder / "log", "-o", options, "start")
    address = f"postgresql+psycopg://test@127.0.0.1:{port}"
    _create(address, "filled")
    Database(f"{address}/filled").close()  # migrated once; each test's database is a copy of it
    yield address
    run(*control, "-m", "immediate", "-t", "120", "stop")
    shutil.rmtree(folder)


def _create(server: str, name: str, template: str = "template1") -> None:
    import psycopg

    with psycopg.connect(server.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = Database(str(tmp_path / "people.sqlite"))
    else:
        server = request.getfixturevalue("postgres")
        name = f"test{time.time_ns()}"
        _create(server, name, "filled")
        made = Database(f"{server}/{name}")
    yield made
    made.close()


# ---------------------------------------------------------------------- the page in Chromium
@pytest.fixture(scope="session")
def viewed_run(tmp_path_factory: pytest.TempPathFactory, slide_path: Path) -> Path:
    """A run of two small slides, with objects, maps and predictions; and of a real one where there is any."""
    from browsing import make_run

    return make_run(tmp_path_factory.mktemp("page"), slide_path)


@pytest.fixture(scope="session")
def served(viewed_run: Path) -> Iterator[str]:
    """The address of a server of that run."""
    command = [sys.executable, "-m", "coverslip", "view", str(viewed_run), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
        server.terminate()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    if not PAGE.is_file():
        pytest.skip("the page is not built: make page")
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def page(browser: object, served: str) -> Iterator[object]:
    """The page, open at the first slide, on which nobody has drawn; what it complains of fails the test."""
    from browsing import PATIENCE, WHOLE, WIPE

    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(served)
    opened.evaluate(WIPE)
    opened.reload()
    opened.wait_for_function(WHOLE)
    yield opened
    context.close()
    assert said == []
