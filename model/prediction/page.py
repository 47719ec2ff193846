"""A page with a moving picture, for browsers on this machine.

In: JPEG files as they come, and what is said beside them. Out: ``/`` the page, ``/stream`` the pictures as
multipart/x-mixed-replace, ``/frame.jpg`` the newest, ``/figures`` as JSON.
"""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from ferdata.errors import OptionError
from ferdata.training.prediction.handover import Latest
from ferdata.training.report.render import render_page

__all__ = ["Page"]

_HOST = "127.0.0.1"
_NAMES = (_HOST, "localhost")
_BOUNDARY = "picture"
_PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.1


class Page:
    """Serves the page from threads of its own until it is closed.

    Args:
        source: Where the pictures come from.
        pictures: JPEG files.
        figures: Asked for what stands beside them, as plain values.
        port: Where; 0 for any that is free.

    Attributes:
        address: Of the page.

    Raises:
        OptionError: If the port is taken.
    """

    def __init__(
        self, source: str, pictures: Latest[bytes], figures: Callable[[], dict[str, Any]], *, port: int
    ) -> None:
        page = render_page(Path(__file__).with_name("live.html"), title="predict --live", source=source)
        try:
            self._server = _Server((_HOST, port), _Handler)
        except OSError as error:
            raise OptionError(
                f"port: {port} found, where {_HOST} cannot be listened at ({error.strerror}), expected a free port; "
                "name another, or 0 for any"
            ) from error
        self._server.page, self._server.pictures, self._server.figures = page.encode(), pictures, figures
        self.address = f"http://{_HOST}:{self._server.server_port}/"
        self._thread = Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), name="page")
        self._thread.start()

    def close(self) -> None:
        """End every answer; pictures must have ended."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    page: bytes
    pictures: Latest[bytes]
    figures: Callable[[], dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE_SECONDS  # a browser that takes nothing must not keep a thread

    def do_GET(self) -> None:
        try:
            self._answer()
        except OSError:  # the browser went away
            self.close_connection = True

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        # a page of somebody else's whose name leads here is not to see the camera
        if self.headers.get("Host", "").partition(":")[0] not in _NAMES:
            self.send_error(403)
        elif path == "/":
            self._send("text/html; charset=utf-8", self.server.page)
        elif path == "/figures":
            self._send("application/json", json.dumps(self.server.figures()).encode())
        elif path == "/frame.jpg":
            picture = next(iter(self.server.pictures), None)
            self.send_error(404) if picture is None else self._send("image/jpeg", picture)
        elif path == "/stream":
            self._stream()
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal is for the user."""

    def _send(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        for picture in self.server.pictures:
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
        self.wfile.write(f"--{_BOUNDARY}--\r\n".encode())
