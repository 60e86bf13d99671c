"""Serve the tiles of a slide with a peer's own means, at the port it prints: ``serve.py KIND SLIDE``.

``deepzoom`` is OpenSlide's generator behind the standard library's threaded server, as its example does with
Flask; ``large_image`` its tile source behind the same server; ``tiatoolbox`` its own Flask application.
"""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Get = Callable[[int, int, int], bytes]


def deepzoom(slide: str) -> Get:
    """Make tiles with OpenSlide; level 0 of an address is the finest."""
    import openslide
    from openslide.deepzoom import DeepZoomGenerator

    made = DeepZoomGenerator(openslide.OpenSlide(slide), tile_size=256, overlap=0, limit_bounds=False)
    last = made.level_count - 1

    def get(level: int, x: int, y: int) -> bytes:
        picture = io.BytesIO()
        made.get_tile(last - level, (x, y)).save(picture, "jpeg", quality=80)
        return picture.getvalue()

    return get


def large_image(slide: str) -> Get:
    """Make tiles with large_image."""
    import large_image as library

    source = library.open(slide, encoding="JPEG", jpegQuality=80)
    last = source.levels - 1
    return lambda level, x, y: bytes(source.getTile(x, y, last - level))


def main(kind: str, slide: str) -> None:
    """Serve until killed."""
    if kind == "tiatoolbox":
        _tiatoolbox(slide)
        return
    get = {"deepzoom": deepzoom, "large_image": large_image}[kind](slide)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def do_GET(self) -> None:
            data = get(*map(int, self.path.strip("/").split("/")))
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


def _tiatoolbox(slide: str) -> None:
    import logging

    from tiatoolbox.visualization.tileserver import TileServer
    from tiatoolbox.wsicore.wsireader import WSIReader

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = TileServer("tiatoolbox", {"slide": WSIReader.open(slide)})
    print(port, flush=True)
    app.run(host="127.0.0.1", port=port, threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
