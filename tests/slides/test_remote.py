"""Slides on a server: read by range, never downloaded whole."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest

from coverslip.core import Box
from coverslip.core.errors import SlideError, SlideNotFoundError, UnsupportedSlideError, UsageError
from coverslip.slides import find_slides, open_slide, slide_id


class Server(ThreadingHTTPServer):
    """Serves the files of a folder, counting bytes."""

    root: Path
    sent = 0
    ranges = True


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD with byte ranges."""

    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.server.root / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data, status = path.read_bytes(), 200
        size = len(data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.server.ranges:
            first, last = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
            data, status = data[first : last + 1], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if body:
            self.server.sent += len(data)
            self.wfile.write(data)


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    pytest.importorskip("aiohttp", reason="pip install 'coverslip[remote]'")
    served = Server(("127.0.0.1", 0), Handler)
    served.root = tmp_path
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.fixture
def large(tmp_path, write_svs) -> Path:
    """About 5 MB of noise as JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)
    return write_svs(tmp_path / "large.svs", noise)


def address(server: Server, name: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


def test_a_region_is_read_without_the_file(server, large):
    size = large.stat().st_size
    assert size > 3_000_000
    box = Box(700, 900, 300, 200)
    with open_slide(large) as local, open_slide(address(server, "large.svs")) as remote:
        assert remote.id == "large"
        assert remote.facts == local.facts
        np.testing.assert_array_equal(remote.read_at(box, 1.0), local.read_at(box, 1.0))
    assert server.sent < size / 2


def test_what_the_server_does_not_have(server):
    with pytest.raises(SlideNotFoundError):
        open_slide(address(server, "none.svs"))


def test_a_server_without_ranges_is_refused(server, large):
    server.ranges = False
    with pytest.raises(SlideError):
        open_slide(address(server, large.name))


def test_memory_and_other_readers(large, picture):
    memory = fsspec.filesystem("memory")
    memory.pipe("/box/large.svs", large.read_bytes())
    memory.pipe("/box/a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    with open_slide("memory://box/large.svs") as slide, open_slide(large) as local:
        assert slide.digest == local.digest
        np.testing.assert_array_equal(slide.thumbnail(100), local.thumbnail(100))
    assert [source.id for source in find_slides(["memory://box/large.svs"])] == ["large"]
    with pytest.raises(UnsupportedSlideError):
        open_slide("memory://box/a.png")


def test_an_unknown_scheme():
    with pytest.raises(UsageError, match="nosuch"):
        open_slide("nosuch://host/a.svs")


def test_ids_of_addresses():
    assert slide_id("https://host/x/B-1.ome.tiff?v=2") == "B-1.ome"
    assert slide_id("memory://a.svs") == "a"
