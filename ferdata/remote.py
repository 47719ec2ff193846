"""Services behind a URL: transient failures are retried, and what web servers answer is checked against what was asked.

In: a call, or an address and a range. Out: its answer, whose length was checked, or the last failure. Costs nothing if
the first answer is good; otherwise a few attempts over some seconds.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

__all__ = [
    "IncompleteAnswerError",
    "advice",
    "http_exists",
    "http_read",
    "http_size",
    "persistently",
    "reason",
    "request_options",
]

PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)
"""Between attempts; each is varied between half and one and a half times, so that workers do not retry in step."""
PATIENCE_SECONDS = 20
"""No further attempt begins after this time: one that stalls takes ``STALL_SECONDS``."""
STALL_SECONDS = 8
"""An answer of which no byte arrives for this long has failed."""
CHUNK_BYTES = 1 << 18

_GONE = (404, 410)
_REFUSED = (401, 403)
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_PASSING_NAMES = {
    "ClientConnectionError",  # aiohttp
    "ClientPayloadError",
    "HTTPClientError",  # botocore
    "IncompleteReadError",
    "ResponseStreamingError",
    "HTTPException",  # http.client
    "ProtocolError",  # urllib3
    "ChunkedEncodingError",  # requests
}
"""Connection errors that are not an OSError; by name, since the libraries may not be installed."""

T = TypeVar("T")


class IncompleteAnswerError(OSError):
    """The bytes that arrived are not those that were asked for."""


def persistently(ask: Callable[[], T]) -> T:
    """Return what a service answers; retry a few times if it fails in a way that may pass.

    Refusals, missing files and errors in how a library is used are raised at once.
    """
    start = time.monotonic()
    for pause in PAUSES_SECONDS:
        try:
            return ask()
        except Exception as error:
            if not _is_passing(error) or time.monotonic() - start > PATIENCE_SECONDS:
                raise
        time.sleep(pause * (0.5 + random.random()))
    return ask()


def reason(error: BaseException) -> str:
    """Return in one line what went wrong, with the server's own code if it gave one, and without the address."""
    for each in _chain(error):
        answer = getattr(each, "response", None)
        if isinstance(answer, dict) and isinstance(answer.get("Error"), dict):
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
            code, message = (answer["Error"].get(name, "") for name in ("Code", "Message"))
            return f"{code} (HTTP {status}) {message}".strip().rstrip(".")
        if (status := _own_status(each)) is not None:
            return f"HTTP {status} {getattr(each, 'message', '')}".strip().rstrip(".")
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def advice(error: BaseException) -> str:
    """Return what to do about an error in reading."""
    if _status(error) in _REFUSED or isinstance(error, PermissionError):
        return "check the permissions and, behind a URL, the credentials"
    if _is_passing(error):
        attempts = len(PAUSES_SECONDS) + 1
        return f"it failed in up to {attempts} attempts over some seconds: try again once the service has recovered"
    return "check it and try again"


def _is_passing(error: BaseException) -> bool:
    if (status := _status(error)) is not None:
        return status in _PASSING
    if isinstance(error, (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)):
        return False
    return isinstance(error, (OSError, EOFError)) or any(
        kind.__name__ in _PASSING_NAMES for kind in type(error).__mro__
    )


def _status(error: BaseException) -> int | None:
    return next((status for each in _chain(error) if (status := _own_status(each)) is not None), None)


def _own_status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error of aiohttp, botocore, or Google's or Microsoft's libraries."""
    if type(error).__module__ == "aiohttp.http_exceptions":
        return None  # an answer that cannot be parsed: the code is aiohttp's, not the server's
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = next(
            (value for name in ("status", "status_code", "code") if (value := getattr(error, name, None)) is not None),
            None,
        )
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes: libraries wrap what their service said."""
    each: BaseException | None = error
    for _ in range(8):
        if each is None:
            return
        yield each
        each = each.__cause__


# Web servers, through the session of fsspec's HTTP file system


def request_options() -> dict[str, Any]:
    """Return options for every request: an answer that stalls fails after seconds; a long one may take its time."""
    import aiohttp

    return {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=STALL_SECONDS, sock_read=STALL_SECONDS)}


def http_read(
    fs: Any, url: str, start: int = 0, stop: int | None = None, *, is_fresh: bool = False
) -> tuple[bytes, bool]:
    """Return the bytes ``[start, stop)`` of a file, or all of it, and whether the server sent all in place of a part.

    Args:
        fs: fsspec's HTTP file system.
        url: The file.
        start: First byte.
        stop: The byte after the last; None for all of the file.
        is_fresh: Bypass any caches on the way.

    Raises:
        FileNotFoundError: If the server knows no such file.
        IncompleteAnswerError: If its answer is not the part that it says, or that was asked for.
    """
    headers = {"Range": f"bytes={start}-{stop - 1}"} if stop is not None else {}
    if is_fresh:
        headers |= {"Cache-Control": "no-cache", "Pragma": "no-cache"}

    async def read() -> tuple[bytes, bool]:
        async with await _request(fs, "GET", url, headers) as answer:
            if answer.status == 416:
                return b"", False
            answer.raise_for_status()
            if stop is None:
                return bytes(await answer.read()), False
            if answer.status == 206:
                return _checked(await answer.read(), answer.headers.get("Content-Range", ""), start, stop), False
            data, skip = bytearray(), start
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                data += chunk[skip:]
                skip = max(0, skip - len(chunk))
                if len(data) >= stop - start:
                    break
            return bytes(data[: stop - start]), True

    return _wait(fs, read())


def http_size(fs: Any, url: str) -> int:
    """Return the size of a file.

    Raises:
        FileNotFoundError: If the server knows no such file.
    """

    async def ask() -> int:
        async with await _request(fs, "HEAD", url, {}) as answer:
            length = answer.headers.get("Content-Length", "")
            if (
                answer.status == 200
                and length.isdecimal()
                and answer.headers.get("Content-Encoding", "identity") == "identity"
            ):
                return int(length)
        async with await _request(
            fs, "GET", url, {"Range": "bytes=0-0"}
        ) as answer:  # some allow no HEAD, or give no length
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if answer.status in (206, 416) and total.isdecimal():
                return int(total)
            answer.raise_for_status()
            length = answer.headers.get("Content-Length", "")
            return int(length) if length.isdecimal() else len(await answer.read())

    return _wait(fs, ask())


def http_exists(fs: Any, url: str) -> bool:
    """Tell whether a server has anything at an address."""

    async def ask() -> bool:
        async with await _request(fs, "GET", url, {}) as answer:
            if answer.status in _PASSING:
                answer.raise_for_status()
            return bool(answer.status < 400)

    try:
        return _wait(fs, ask())
    except FileNotFoundError:
        return False


async def _request(fs: Any, method: str, url: str, headers: dict[str, str]) -> Any:
    """Return the answer to a request, a context manager; bytes arrive as stored, so that ranges are the file's."""
    options = dict(fs.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity", **headers}
    session = await fs.set_session()
    answer = await session.request(method, fs.encode_url(url), headers=headers, allow_redirects=True, **options)
    if answer.status in _GONE:
        answer.release()
        raise FileNotFoundError(2, "No such file", url)
    return answer


def _checked(data: bytes, content_range: str, start: int, stop: int) -> bytes:
    """Return the bytes of a part if they are those that were asked for; at the end of a file there are fewer."""
    said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range.strip())
    first, last = (int(said[1]), int(said[2])) if said else (start, start + len(data) - 1)
    end = min(stop, int(said[3])) if said and said[3] != "*" else stop
    if first != start or last + 1 > end or len(data) != last + 1 - first:
        raise IncompleteAnswerError(
            f"{len(data):,} bytes of the range {content_range or 'unknown'} arrived, expected {start}-{stop - 1}"
        )
    return data


def _wait(fs: Any, asked: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine on the file system's own thread."""
    future = asyncio.run_coroutine_threadsafe(asked, fs.loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
