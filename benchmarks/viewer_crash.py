"""Kill the viewer's server again and again while people draw, and count what was acknowledged and is gone.

``python benchmarks/viewer_crash.py --rounds 200 --db sqlite|postgresql -o FOLDER``

Each round starts `coverslip view` as a process of its own, lets four clients draw, change and remove shapes
over HTTP, and kills the process with SIGKILL at a moment that nobody knows before. The next round starts it
anew on the same database and asks for all shapes: every change that was acknowledged must be there, or a
later one of the same shape; a shape whose removal was acknowledged must not. At the end the record's chain
must be whole. State is kept in FOLDER after each round, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Where = tuple[str, int, str]
"""Host, port and token."""

CLIENTS = 4
LONGEST_S = 0.6
"""A round's server lives up to this long once it answers."""

STARTS_S = 60.0


@dataclass
class Expected:
    """What was acknowledged: version by shape; 0 for a shape whose removal was."""

    versions: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    rounds: int = 0


class Client(threading.Thread):
    """Draws, changes and removes until the server is gone."""

    def __init__(self, where: Where, name: str, expected: Expected, lock: threading.Lock) -> None:
        super().__init__(daemon=True)
        self._where, self._name, self._expected, self._lock = where, name, expected, lock
        self._random = random.Random(name)  # noqa: S311 - of a benchmark

    def run(self) -> None:
        """Draw until the connection breaks."""
        host, port, _ = self._where
        connection = http.client.HTTPConnection(host, port, timeout=20)
        number = 0
        try:
            while True:
                number += 1
                self._change(connection, f"{self._name}-{number}")
        except (OSError, http.client.HTTPException):
            return  # killed: whatever was on its way was not acknowledged

    def _change(self, connection: http.client.HTTPConnection, shape: str) -> None:
        self._ask(connection, ("POST", ""), shape, {"id": shape}, becomes=1)
        if self._random.random() < 0.7:
            self._ask(connection, ("PUT", f"/{shape}"), shape, {"id": shape, "version": 1}, becomes=2)
            if self._random.random() < 0.4:
                self._ask(connection, ("DELETE", f"/{shape}?version=2"), shape, None, becomes=0)

    def _ask(
        self, connection: http.client.HTTPConnection, what: tuple[str, str], shape: str,
        body: dict[str, Any] | None, *, becomes: int,
    ) -> None:  # fmt: skip
        with self._lock:
            self._expected.sent[shape] = becomes
        data = None if body is None else json.dumps({**body, **drawn(becomes)})
        headers = {"Authorization": f"Bearer {self._where[2]}", "Content-Type": "application/json"}
        connection.request(what[0], f"/api/slides/slide/shapes{what[1]}", data, headers)
        answer = connection.getresponse()
        said = answer.read()
        with self._lock:
            if answer.status not in (200, 201, 204):
                self._expected.lost.append(f"{what}: {answer.status} {said[:300]!r}")
                return
            self._expected.versions[shape] = becomes
            self._expected.acknowledged += 1


def drawn(side: int) -> dict[str, Any]:
    """Return a shape whose size says its version."""
    ring = [[0, 0], [side, 0], [side, side], [0, 0]]
    return {"kind": "polygon", "geometry": {"type": "Polygon", "coordinates": [ring]}}


@contextmanager
def served(slide: Path, url: str) -> Iterator[tuple[subprocess.Popen[str], Where]]:
    """Start the server; yield its process, host, port and token."""
    command = [sys.executable, "-m", "coverslip", "view", str(slide), "--db", url, "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        address = json.loads(server.stdout.readline() if server.stdout else "{}")["url"]
        rest, _, token = address.partition("/?token=")
        host, _, port = rest.removeprefix("http://").partition(":")
        try:
            yield server, (host, int(port), token)
        finally:
            server.kill()


def check(where: Where, expected: Expected) -> None:
    """Compare what the server has with what was acknowledged."""
    connection = http.client.HTTPConnection(where[0], where[1], timeout=60)
    connection.request("GET", "/api/slides/slide/shapes", headers={"Authorization": f"Bearer {where[2]}"})
    kept = {one["id"]: one for one in json.loads(connection.getresponse().read())}
    for shape, version in expected.versions.items():
        later = expected.sent[shape]  # sent, perhaps done, not acknowledged
        there = kept.get(shape)
        if version == 0 or there is None:
            fits = there is None and 0 in (version, later)
        else:
            side = there["geometry"]["coordinates"][0][1][0]
            fits = there["version"] in (version, later) and side == there["version"]
        if not fits:
            expected.lost.append(f"{shape}: acknowledged {version}, there is {there}")
    for shape in list(expected.versions):  # what was checked is not looked at again, but for what was lost
        expected.versions[shape] = 0 if kept.get(shape) is None else kept[shape]["version"]
        expected.sent[shape] = expected.versions[shape]


def one_round(slide: Path, url: str, expected: Expected, *, last: bool) -> None:
    """Start, check, draw, kill."""
    with served(slide, url) as (server, where):
        check(where, expected)
        if last:
            server.send_signal(signal.SIGTERM)
            return
        lock = threading.Lock()
        clients = [Client(where, f"r{expected.rounds}c{n}", expected, lock) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(random.uniform(0.02, LONGEST_S))  # noqa: S311
        server.send_signal(signal.SIGKILL)
        for client in clients:
            client.join()
    expected.rounds += 1


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """Yield the address of a database; PostgreSQL is started here, its settings untouched."""
    if kind == "sqlite":
        yield str(folder / "people.sqlite")
        return
    found = shutil.which("pg_ctl")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places:
        sys.exit("PostgreSQL is not installed: apt install postgresql")
    data = folder / "postgres"
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    fresh = not data.exists()
    data.mkdir(exist_ok=True)
    if user:
        shutil.chown(data, "nobody", "nogroup")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: object) -> None:
        subprocess.run([*user, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd=data)

    if fresh:
        run(places[-1] / "initdb", "-D", data / "data", "-U", "bench", "-A", "trust")
    control = (places[-1] / "pg_ctl", "-D", data / "data", "-w")
    run(*control, "-l", data / "log", "-o", f"-p {port} -k {data} -c listen_addresses=127.0.0.1", "start")
    try:
        yield f"postgresql+psycopg://bench@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "fast", "stop")


def slide_in(folder: Path) -> Path:
    """Write a small slide to draw on."""
    import numpy as np
    import tifffile

    path = folder / "slide.tif"
    if not path.exists():
        grey = np.full((512, 512, 3), 200, np.uint8)
        tifffile.imwrite(path, grey, tile=(256, 256), compression="jpeg", photometric="ycbcr")
    return path


def main() -> None:
    """Run the rounds that are still to do and say what was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--db", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("-o", "--output", type=Path, default=None)
    given = parser.parse_args()
    folder = given.output or Path(tempfile.mkdtemp(prefix="coverslip-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / f"{given.db}.json"
    expected = Expected(**json.loads(state.read_text())) if state.exists() else Expected()
    slide = slide_in(folder)
    with database(given.db, folder) as url:
        while expected.rounds < given.rounds:
            one_round(slide, url, expected, last=False)
            state.write_text(json.dumps(expected.__dict__))
        one_round(slide, url, expected, last=True)
        from coverslip.server.db import Database, Record

        found = Record(Database(url)).verify()
    print(json.dumps({
        "database": given.db, "kills": expected.rounds, "acknowledged": expected.acknowledged,
        "lost": len(expected.lost), "record_lines": found.lines, "record_whole": found.is_whole,
    }, indent=1))  # fmt: skip
    print(*expected.lost[:10], sep="\n")
    sys.exit(1 if expected.lost or not found.is_whole else 0)


if __name__ == "__main__":
    main()
