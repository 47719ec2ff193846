"""Where a server's answers come from: a folder on this machine, or another server.

In: a request's head. Out: an answer's head, and its body piece by piece, as it stands on the disk or arrives.
"""

import asyncio
import base64
import email.utils
import gzip
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.client import responses
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ferdata_bench.network.conduct import Conduct

__all__ = ["PIECE_BYTES", "Answer", "Folder", "Head", "Upstream", "read_body", "read_head", "refusal"]

PIECE_BYTES = 1 << 18

CODES = {403: "AccessDenied", 404: "NoSuchKey", 429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}
"""What S3 calls them."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers of a message, names in lower case."""

    line: str
    headers: dict[str, str]

    def encoded(self) -> bytes:
        """Return the bytes that a message begins with."""
        lines = [self.line, *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(slots=True)
class Answer:
    """One answer.

    Attributes:
        status: The HTTP status.
        headers: Headers but for those that say how long the body is.
        num_bytes: The body's length; None if it is not known before its end.
        pieces: The body.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    num_bytes: int | None = 0
    pieces: AsyncIterator[bytes] | None = None


def refusal(status: int) -> Answer:
    """Return an answer without what was asked for, as S3 words it."""
    code = CODES.get(status, responses.get(status, "Error"))
    text = f"<Error><Code>{code}</Code><Message>Please reduce your request rate.</Message></Error>".encode()
    return Answer(status, {"content-type": "application/xml"}, len(text), _one(text))


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Return the head of the next message; None at the end of the connection."""
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    pairs = (line.partition(":") for line in lines[1:] if line)
    return Head(lines[0], {name.strip().lower(): value.strip() for name, _, value in pairs})


def read_body(reader: asyncio.StreamReader, head: Head, *, is_answer: bool) -> tuple[int | None, AsyncIterator[bytes]]:
    """Return how long a message's body is, if that is known, and its pieces."""
    if head.headers.get("transfer-encoding", "").lower() == "chunked":
        return None, _chunks(reader)
    length = head.headers.get("content-length")
    if length is None and not is_answer:
        return 0, _pieces(reader, 0)
    return (None, _pieces(reader, None)) if length is None else (int(length), _pieces(reader, int(length)))


async def _pieces(reader: asyncio.StreamReader, num_bytes: int | None) -> AsyncIterator[bytes]:
    left = num_bytes
    while left is None or left > 0:
        data = await reader.read(PIECE_BYTES if left is None else min(left, PIECE_BYTES))
        if not data:
            return
        left = left if left is None else left - len(data)
        yield data


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).partition(b";")[0], 16):
        async for piece in _pieces(reader, size):
            yield piece
        await reader.readline()
    while (await reader.readline()).strip():
        pass


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Folder:
    """Answers with the files of a folder, as web servers do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def answer(self, head: Head, body: AsyncIterator[bytes], conduct: Conduct) -> Answer:
        """Return the answer to a request; its body is not looked at."""
        async for _ in body:
            pass
        method, target, _ = head.line.split(" ")
        if conduct.login and head.headers.get("authorization") != _basic(conduct.login):
            return refusal(401)
        if conduct.redirect:
            return Answer(307, {"location": conduct.redirect.rstrip("/") + target})
        path = self._folder / unquote(target.partition("?")[0]).lstrip("/")
        if not path.is_file():
            return refusal(404)
        size = path.stat().st_size
        start, stop, status = 0, size, 200
        headers = {"content-type": "application/octet-stream", "last-modified": email.utils.formatdate(usegmt=True)}
        if conduct.compression == "always" or (
            conduct.compression == "asked" and "gzip" in head.headers.get("accept-encoding", "")
        ):
            data = gzip.compress(path.read_bytes(), 1)
            length = len(data) if conduct.has_length else None
            return Answer(200, {**headers, "content-encoding": "gzip"}, length, _one(b"" if method == "HEAD" else data))
        if conduct.ranges:
            headers["accept-ranges"] = "bytes"
        if conduct.ranges and (asked := re.fullmatch(r"bytes=(\d*)-(\d*)", head.headers.get("range", ""))):
            first, last = asked[1], asked[2]
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            if start >= size:
                return Answer(416, {"content-range": f"bytes */{size}"})
            status, headers["content-range"] = 206, f"bytes {start}-{stop - 1}/{size}"
        length = stop - start if conduct.has_length else None
        return Answer(status, headers, length, _file(path, start, 0 if method == "HEAD" else stop - start))

    async def close(self) -> None:
        """Do nothing."""


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


async def _file(path: Path, start: int, num_bytes: int) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while num_bytes > 0 and (data := file.read(min(num_bytes, PIECE_BYTES))):
            num_bytes -= len(data)
            yield data


class Upstream:
    """Answers with what another server says; one connection to it for each of the client's."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def answer(self, head: Head, body: AsyncIterator[bytes], conduct: Conduct) -> Answer:
        """Pass a request on; return the answer, whose pieces must be read before the next request."""
        is_chunked = "transfer-encoding" in head.headers
        if self._streams is not None and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            await self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=4 * PIECE_BYTES)
        reader, writer = self._streams
        writer.write(head.encoded())
        async for piece in body:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            await writer.drain()
        if is_chunked:
            writer.write(b"0\r\n\r\n")
        said = await read_head(reader)
        while said is not None and said.line.split(" ")[1] == "100":
            said = await read_head(reader)
        if said is None:
            await self.close()
            return refusal(502)
        status, headers = int(said.line.split(" ")[1]), dict(said.headers)
        length, pieces = read_body(reader, said, is_answer=True)
        is_last = said.line.startswith("HTTP/1.0") or headers.get("connection", "").lower() == "close"
        if head.line.startswith("HEAD ") or status in (204, 304):
            length, pieces = int(headers.get("content-length", 0)), _one(b"")
            if is_last:
                await self.close()
        for name in ("content-length", "transfer-encoding", "connection", "keep-alive"):
            headers.pop(name, None)
        return Answer(status, headers, length, self._until_closed(pieces) if is_last or length is None else pieces)

    async def _until_closed(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
        await self.close()

    async def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
