"""Slow, greedy and malformed requests, over real sockets: the others are served, and memory is bounded."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from coverslip.core.errors import UsageError
from coverslip.server import Library
from coverslip.server.app import Site
from coverslip.server.db import Database
from coverslip.server.serve import check_reach

SLIDE = "/api/slides/a%20slide"
QUICK = "from coverslip.server import guard, patience; guard.PATIENCE_S = 1.0; patience.HEAD_S = 1.0; "
QUICK += "from coverslip.cli import main; main()"


class Running:
    """A server in a process of its own, whose patience is a second."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        rest, _, self.token = url.partition("/?token=")
        self.port = int(rest.rpartition(":")[2])

    def head(self, method: str, address: str, *more: str) -> bytes:
        lines = [f"{method} {address} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"Authorization: Bearer {self.token}", *more, "", ""]
        return "\r\n".join(lines).encode()

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, address: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", address, headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    @property
    def megabytes(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, slide_path: Path) -> Iterator[Running]:
    db = tmp_path_factory.mktemp("slow") / "people.sqlite"
    words = ["coverslip", "view", str(slide_path), "--db", str(db), "--no-browser", "--json"]
    code = f"import sys; sys.argv = {words!r}; {QUICK}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Running(process, json.loads(process.stdout.readline())["url"])
        process.terminate()


def ended(connection: socket.socket) -> bool:
    """Say whether the server closed a connection."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        return True
    return True


def test_slow_clients_starve_nobody(running: Running) -> None:
    """Some send half a head, some not the body that they promised, some never read; all at once."""
    running.get(f"{SLIDE}/tiles/0/1/1")
    before = running.megabytes
    slow = [running.socket() for _ in range(90)]
    for number, connection in enumerate(slow):
        if number % 3 == 0:
            connection.sendall(b"GET / HT")
        elif number % 3 == 1:
            promised = "Content-Length: 60000000"
            connection.sendall(running.head("POST", f"{SLIDE}/shapes/import", promised) + b"{" * 1000)
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(running.head("GET", f"{SLIDE}/tiles/0/1/1?decode=1") * 200)
    times = []
    for number in range(60):
        begun = time.perf_counter()
        status, data = running.get(f"{SLIDE}/tiles/0/{number % 8}/{number % 5}")
        times.append(time.perf_counter() - begun)
        assert (status, data[:2]) == (200, b"\xff\xd8")
    assert sorted(times)[30] < 0.25, "half of all tiles come as if nobody else were there"
    assert running.megabytes - before < 120
    assert all(ended(connection) for number, connection in enumerate(slow) if number % 3 < 2)
    for connection in slow:
        connection.close()
    assert running.get("/api/slides")[0] == 200


def test_a_body_that_does_not_come_is_given_up(running: Running) -> None:
    with running.socket() as connection:
        connection.sendall(running.head("POST", f"{SLIDE}/shapes", "Content-Length: 500") + b'{"id": ')
        said = connection.recv(4096)
    assert b" 408 " in said.splitlines()[0]
    assert b"Traceback" not in said


def test_a_body_that_is_too_large_is_refused(running: Running) -> None:
    with running.socket() as connection:
        connection.sendall(running.head("POST", f"{SLIDE}/shapes", "Transfer-Encoding: chunked"))
        piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        said = b""
        try:
            for _ in range(129):  # 65,536 bytes more than may come
                connection.sendall(piece)
        except ConnectionError:
            pass
        connection.settimeout(30)
        try:
            said = connection.recv(4096)
        except ConnectionError:
            return  # closed while we were still sending: that is a refusal too
    assert b" 413 " in said.splitlines()[0]


def test_a_large_body_comes_with_its_head(running: Running) -> None:
    """What is sent at once may be larger than a head: two changes on one connection, a megabyte each."""
    with running.socket() as connection:
        for number in range(2):
            point = {"type": "Point", "coordinates": [1, 1]}
            body = json.dumps({"id": f"p{number}", "kind": "point", "geometry": point}).encode()
            body += b" " * 1_000_000
            head = running.head("POST", f"{SLIDE}/shapes", "Content-Type: application/json",
                                f"Content-Length: {len(body)}")  # fmt: skip
            connection.sendall(head + body)
            assert b" 201 " in whole_answer(connection).splitlines()[0]


def whole_answer(connection: socket.socket) -> bytes:
    """Return head and body of an answer that states its length: they may come apart."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += connection.recv(65_536)
    head, _, body = said.partition(b"\r\n\r\n")
    (length,) = re.findall(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
    while len(body) < int(length):
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: " + b"b" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 30_000,
    ],
    ids=["address", "header", "headers"],
)
def test_a_head_without_end_is_cut_off(running: Running, head: bytes) -> None:
    with running.socket() as connection:
        try:
            connection.sendall(head)
        except ConnectionError:
            return
        assert ended(connection)


@pytest.mark.parametrize(
    "noise", [b"\x00\xff\x16\x03\x01" * 20, b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_noise_is_answered_without_a_trace(running: Running, noise: bytes) -> None:
    with running.socket() as connection:
        connection.sendall(noise)
        said = b""
        try:
            while part := connection.recv(4096):
                said += part
        except ConnectionError:
            pass
    assert b"Traceback" not in said
    assert running.get("/api/slides")[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "slides.example"])  # noqa: S104
def test_other_machines_need_accounts(library: Library, database: Database, host: str) -> None:
    with pytest.raises(UsageError, match="no accounts") as refused:
        check_reach(Site(library, database), host)
    assert "--accounts" in (refused.value.mend or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_this_machine_needs_none(library: Library, database: Database, host: str) -> None:
    check_reach(Site(library, database), host)
