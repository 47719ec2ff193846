"""Files of a web server: ranges where it knows them, whole files where it does not, whatever it answers being checked.

In: an address and a range. Out: its bytes, as they are stored. Costs a request, and one for each redirect.
"""

import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ferdata.remote.failures import PASSING, IncompleteAnswerError
from ferdata.remote.patience import Patience
from ferdata.remote.protocols import another
from ferdata.remote.whole import WholeFiles

__all__ = ["Web"]

_CHUNK_BYTES = 1 << 18
_GONE = (404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10

T = TypeVar("T")


class Web:
    """A web server, through the sessions of fsspec's HTTP file system; for any number of threads.

    Args:
        fs: The file system.
        patience: What ends waiting.
        where: What a person calls the server's folder.
    """

    def __init__(self, fs: Any, patience: Patience, where: str) -> None:
        self._fs, self._patience = fs, patience
        self._elsewhere: Any = None
        self._whole = WholeFiles(where)

    @property
    def sends_whole_files(self) -> bool:
        """Whether the server sent a whole file where a part was asked for."""
        return self._whole.has_come

    def read(
        self,
        url: str,
        part: tuple[int, int] | None,
        *,
        is_fresh: bool,
        is_new: bool,
        room: memoryview | None = None,
    ) -> bytes | memoryview:
        """Return the bytes ``[start, stop)`` of a file, fewer only at its end, or all of it.

        Args:
            url: The file.
            part: Its first byte, and the one after the last; None for all.
            is_fresh: Bypass any caches on the way.
            is_new: Do that over a new connection.
            room: Memory for a part, which spares fresh memory for each.

        Raises:
            FileNotFoundError: If the server knows no such file.
            IncompleteAnswerError: If the answer is not the part that it says, or that was asked for.
            StoreError: If the server sends whole files, and there is no room for one.
        """
        if part is not None:
            return self._read_range(url, *part, is_fresh=is_fresh, is_new=is_new, room=room)

        async def ask(fs: Any) -> bytes:
            async with self._answer(fs, "GET", url, _headers(is_fresh)) as answer:
                answer.raise_for_status()
                return bytes(await answer.read())

        return bytes(self._wait(ask, is_new=is_new))

    def _read_range(
        self, url: str, start: int, stop: int, *, is_fresh: bool, is_new: bool, room: memoryview | None
    ) -> bytes | memoryview:
        if is_fresh:
            self._whole.forget(url)
        data: bytes | memoryview | None = self._whole.read(url, start, stop)
        if data is not None:
            return data
        wants_whole = False

        async def ask(fs: Any) -> bytes | memoryview | None:
            nonlocal wants_whole
            headers = {} if wants_whole else {"Range": f"bytes={start}-{stop - 1}"}
            async with self._answer(fs, "GET", url, headers | _headers(is_fresh)) as answer:
                if answer.status == 416:
                    return b""
                answer.raise_for_status()
                if answer.status == 206:
                    if answer.headers.get("Content-Encoding", "identity") != "identity":
                        wants_whole = True  # a range of compressed bytes, which cannot be undone
                        return None
                    return _checked(await _body(answer, room), answer.headers.get("Content-Range", ""), start, stop)
                await self._whole.take(url, answer.content.iter_chunked(_CHUNK_BYTES))
                return None

        data = self._wait(ask, is_new=is_new)
        if data is None and wants_whole:
            data = self._wait(ask, is_new=is_new)
        if data is None:
            size = self._whole.wait_for(url, self._patience.check)
            data = self._whole.read(url, start, min(stop, size))
        if data is None:
            raise IncompleteAnswerError("the whole file arrived, and was let go of for others")
        return data

    def size(self, url: str) -> int:
        """Return the size of a file.

        Raises:
            FileNotFoundError: If the server knows no such file.
        """
        if (size := self._whole.size(url)) is not None:
            return size

        async def ask(fs: Any) -> int | None:
            async with self._answer(fs, "HEAD", url, {}) as answer:
                if (size := _length(answer)) is not None and answer.status == 200:
                    return size
            # some allow no HEAD, or give no length
            async with self._answer(fs, "GET", url, {"Range": "bytes=0-0"}) as answer:
                total = answer.headers.get("Content-Range", "").rpartition("/")[2]
                if answer.status in (206, 416) and total.isdecimal():
                    return int(total)
                answer.raise_for_status()
                if (size := _length(answer)) is None:
                    await self._whole.take(url, answer.content.iter_chunked(_CHUNK_BYTES))
                return size

        size = self._wait(ask)
        return self._whole.wait_for(url, self._patience.check) if size is None else int(size)

    def exists(self, url: str) -> bool:
        """Tell whether a server has anything at an address."""

        async def ask(fs: Any) -> bool:
            async with self._answer(fs, "GET", url, {}) as answer:
                if answer.status in PASSING:
                    answer.raise_for_status()
                return bool(answer.status < 400)

        try:
            return bool(self._wait(ask))
        except FileNotFoundError:
            return False

    def _wait(self, ask: Any, *, is_new: bool = False) -> Any:
        """Return what a coroutine function gives for the file system, or for another one without connections so far."""
        asked: Coroutine[Any, Any, Any] = ask(self._fs) if not is_new else _on_new_connection(self._fs, ask)
        return self._patience.wait_for(asked, self._fs.loop)

    @asynccontextmanager
    async def _answer(self, fs: Any, method: str, url: str, headers: dict[str, str]) -> AsyncIterator[Any]:
        """Give the answer to a request, at the end of its redirects; bytes are asked for as they are stored.

        Another host than the one that was named is told nothing of who asks: no login, no header or cookie of theirs.
        """
        options = dict(fs.kwargs)
        own = options.pop("headers", {})
        session = await fs.set_session()
        address = fs.encode_url(url)
        for _ in range(_MOST_REDIRECTS):
            self._patience.asked()
            answer = await session.request(
                method,
                address,
                headers={**own, "Accept-Encoding": "identity", **headers},
                allow_redirects=False,
                **options,
            )
            to = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not to:
                break
            answer.release()
            following = address.join(type(address)(to, encoded=to.isascii()))
            if following.origin() == address.origin():
                following = following.with_user(address.user).with_password(address.password)
            else:
                own, options = {}, {"timeout": options.get("timeout")}
                session = await self._stranger().set_session()
            address = following
        async with answer:
            if answer.status in _GONE:
                raise FileNotFoundError(2, "No such file", url)
            yield answer

    def _stranger(self) -> Any:
        """Return a file system whose requests carry nothing of the user's."""
        if self._elsewhere is None:
            self._elsewhere = type(self._fs)(skip_instance_cache=True)
        return self._elsewhere


async def _on_new_connection(fs: Any, ask: Any) -> Any:
    other = another(fs)
    try:
        return await ask(other)
    finally:
        session = await other.set_session()
        await session.close()


def _headers(is_fresh: bool) -> dict[str, str]:
    return {"Cache-Control": "no-cache", "Pragma": "no-cache"} if is_fresh else {}


def _length(answer: Any) -> int | None:
    """Return how long a file is by its whole answer; None if it does not say, or says it of compressed bytes."""
    length = answer.headers.get("Content-Length", "")
    is_plain = answer.headers.get("Content-Encoding", "identity") == "identity"
    return int(length) if is_plain and length.isdecimal() else None


async def _body(answer: Any, room: memoryview | None) -> bytes | memoryview:
    """Return the body of an answer, in memory that is there already if it is given."""
    if room is None:
        return bytes(await answer.read())
    end = 0
    while chunk := await answer.content.readany():
        if end + len(chunk) > len(room):
            raise IncompleteAnswerError(f"more than {len(room):,} bytes arrived")
        room[end : end + len(chunk)] = chunk
        end += len(chunk)
    return room[:end]


def _checked(data: bytes | memoryview, content_range: str, start: int, stop: int) -> bytes | memoryview:
    """Return the bytes of a part if they are those that were asked for; at the end of a file there are fewer."""
    said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range.strip())
    first, last = (int(said[1]), int(said[2])) if said else (start, start + len(data) - 1)
    end = min(stop, int(said[3])) if said and said[3] != "*" else stop
    if first != start or last + 1 > end or len(data) != last + 1 - first:
        raise IncompleteAnswerError(
            f"{len(data):,} bytes of the range {content_range or 'unknown'} arrived, expected {start}-{stop - 1}"
        )
    return data
