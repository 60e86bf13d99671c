"""Servers of tiles, ours and peers', and a client that costs little."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np

from coverslip.slides import open_slide

HERE = Path(__file__).parent

Tile = tuple[int, int, int]
"""Power of two by which it is coarser than level 0, column, row."""


@dataclass(frozen=True)
class Server:
    """A server that runs, and how its tiles are asked for."""

    port: int
    path: Callable[[Tile], str]
    headers: str = ""
    pid: int = 0
    url: str = ""


@contextmanager
def ours(places: Sequence[str], *, query: str = "") -> Iterator[Server]:
    """Run ``coverslip view``."""
    command = [sys.executable, "-m", "coverslip", "view", *places, "--no-browser", "--json"]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--db", f"{folder}/people.sqlite"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = json.loads(process.stdout.readline())["url"]  # type: ignore[union-attr]
                parts = urlsplit(url)
                token = parse_qs(parts.query)["token"][0]
                slide = quote(Path(places[0]).stem)
                levels = levels_of(places[0]) if Path(places[0]).is_file() else {}

                def path(tile: Tile) -> str:
                    return f"/api/slides/{slide}/tiles/{levels[tile[0]]}/{tile[1]}/{tile[2]}{query}"

                yield Server(parts.port or 0, path, f"Authorization: Bearer {token}\r\n", process.pid, url)
            finally:
                process.terminate()


def levels_of(path: str) -> dict[int, int]:
    """Return which level that is served is how many powers of two coarser than level 0."""
    from coverslip.server.pyramid import served_levels

    with open_slide(path) as slide:
        return {round(np.log2(level.downsample)): level.index for level in served_levels(slide)}


@contextmanager
def peer(name: str, python: str, slide: str) -> Iterator[Server]:
    """Run a peer's server."""
    command = [python, "-P", str(HERE / "peers" / "serve.py"), name, slide]  # peers/ has files of their names
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            said = (line.strip() for line in process.stdout)  # type: ignore[union-attr]
            port = next(int(line) for line in said if line.isdigit())  # libraries print notes of their own
            _wait(port)
            with open_slide(slide) as opened:
                last = int(np.ceil(np.log2(max(opened.size) / 256)))

            def zoomify(tile: Tile) -> str:
                place = f"{last - tile[0]}-{tile[1]}-{tile[2]}"
                return f"/tileserver/layer/slide/default/zoomify/TileGroup0/{place}@1x.jpg"

            own = name == "tiatoolbox"
            path = zoomify if own else "/{0[0]}/{0[1]}/{0[2]}".format
            yield Server(port, path, "Cookie: session_id=default\r\n" if own else "", process.pid)
        finally:
            process.terminate()


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"nothing answers at port {port}")


class Line:
    """A kept-alive connection that reads answers and throws them away."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = self._called()

    def _called(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._server.port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def get(self, tile: Tile) -> float:
        """Ask for a tile and return the milliseconds until all of it was here."""
        path = self._server.path(tile)
        ask = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._server.port}\r\n{self._server.headers}\r\n"
        began = time.perf_counter()
        self._socket.sendall(ask.encode())
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._read(path)
        head = data[:end].lower()
        if not head.startswith((b"http/1.1 200", b"http/1.0 200")):
            sys.exit(f"{path}: {head[:120]!r}")
        size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        missing = size - (len(data) - end - 4)
        while missing > 0:
            missing -= len(self._read(path))
        took = (time.perf_counter() - began) * 1e3
        if b"connection: close" in head:  # as Flask's own server does; it is called anew, which is not timed
            self.close()
            self._socket = self._called()
        return took

    def _read(self, path: str) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            sys.exit(f"{path}: the server hung up")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def ask(server: Server, each: Sequence[Tile], place: Callable[[Tile], str]) -> None:
    """Ask for pictures one after the other."""
    line = Line(Server(server.port, lambda tile: f"/api/slides/{place(tile)}", server.headers))
    for tile in each:
        line.get(tile)
    line.close()


def pss(pid: int) -> float:
    """Return what a process holds of memory in MB, its share of what is shared."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("Pss:")[1].split()[0]) / 1024
