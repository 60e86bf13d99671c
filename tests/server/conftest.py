"""A library of small slides, and a client that is let in."""

from __future__ import annotations

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
