"""A web server of a folder that knows ranges, counts its requests, and fails as it is told, as real ones do."""

import contextlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["WebServer", "serve"]


@dataclass
class WebServer:
    """A server and what it is to do.

    Attributes:
        url: Its address.
        faults: What happens to the next requests for ranges of shards, or of whatever ``failing`` names: an HTTP
            status, ``cut`` (half the body, then the connection's end), ``reset`` (no answer), ``stall`` (half the body,
            then silence), ``short`` (half the body, called whole), ``other`` (another range), ``flip`` (a bit).
        failing: Pattern of the paths that faults happen to.
        ranges: Whether it knows ranges.
        asked: Method, path and range of every request.
        gate: Called with path and range before each answer, which it may hold back.
    """

    url: str = ""
    faults: list[str] = field(default_factory=list)
    failing: str = r"\.tar"
    ranges: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    gate: Callable[[str, str], object] = lambda path, asked: None
    released: threading.Event = field(default_factory=threading.Event)

    def of_shards(self) -> list[tuple[str, str, str]]:
        """Return the requests for shards since the last call."""
        asked = [each for each in self.asked if ".tar" in each[1]]
        self.asked.clear()
        return asked


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[WebServer]:
    """Serve a folder while the block runs."""
    told = WebServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None: ...

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path, asked = self.path.partition("?")[0], self.headers.get("Range", "")
            told.asked.append((self.command, path, asked))
            told.gate(path, asked)
            place = folder / path.lstrip("/")
            if not place.is_file():
                return self.send_error(404)
            data, status, headers = place.read_bytes(), 200, {}
            size = len(data)
            fault = (
                told.faults.pop(0) if told.faults and self.command == "GET" and re.search(told.failing, path) else ""
            )
            if fault.isdecimal():
                return self.send_error(int(fault))
            if fault == "reset":
                self.close_connection = True
                return None
            if told.ranges and (found := re.fullmatch(r"bytes=(\d+)-(\d+)", asked)):
                start, stop = int(found[1]), min(size, int(found[2]) + 1)
                start, stop = (start + 1, stop + 1) if fault == "other" else (start, stop)
                data, status = data[start:stop], 206
                headers["Content-Range"] = f"bytes {start}-{start + len(data) - 1}/{size}"
            if fault == "flip":
                data = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]
            if fault == "short":
                data, headers = data[: len(data) // 2], {}
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return None
            with contextlib.suppress(OSError):  # whoever asked has gone
                self.wfile.write(data[: len(data) // 2] if fault in ("cut", "stall") else data)
                self.wfile.flush()
            if fault == "stall":
                told.released.wait(60)
            if fault in ("cut", "stall"):
                self.close_connection = True
            return None

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64  # of five, one who opens many connections at once waits a second for the sixth

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield told
        finally:
            told.released.set()
            server.shutdown()
            thread.join()
