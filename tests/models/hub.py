"""A small server that stands for the hub: files with checksums, gates, cut connections."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Files by ``repository/name``, and what happens to whoever asks.

    Attributes
    ----------
    asked
        Method, path and range of each request.
    cut
        Bytes after which the connection breaks, once; None never.
    lies
        Content that is sent instead of the file, under the file's own checksum.
    token
        That gated repositories ask for.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[tuple[str, str, str | None]]()
        self.cut: int | None = None
        self.lies: bytes | None = None
        self.token: str | None = None
        self.address = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def refused(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, *, body: bool) -> None:
            hub.asked.append((self.command, self.path, self.headers.get("Range")))
            repository, _, rest = self.path.lstrip("/").partition("/resolve/")
            key = f"{repository}/{rest.partition('/')[2]}"
            if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.refused(403 if "Authorization" in self.headers else 401, "GatedRepo")
            if not any(name.startswith(repository + "/") for name in hub.files):
                return self.refused(404, "RepoNotFound")
            if key not in hub.files:
                return self.refused(404, "EntryNotFound")
            return self.sent(hub.files[key], body)

        def sent(self, content: bytes, body: bool) -> None:
            etag = hashlib.sha256(content).hexdigest()
            said = hub.lies if hub.lies is not None and body else content
            start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", "c0ffee" + 34 * "0")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(said) - start))
            if "Range" in self.headers:
                self.send_header("Content-Range", f"bytes {start}-{len(said) - 1}/{len(said)}")
            self.end_headers()
            if not body:
                return
            if hub.cut is not None:
                self.wfile.write(said[start : start + hub.cut])
                self.wfile.flush()
                hub.cut = None
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(said[start:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
