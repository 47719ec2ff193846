"""Files of a server that sends nothing less than a whole one: each is fetched once, and kept in a bounded place.

In: the pieces of an answer. Out: ranges of the file. Disk: :data:`MOST_BYTES` in the folder for temporary files;
nothing is left of them when the process ends, however it does.
"""

import contextlib
import errno
import shutil
import tempfile
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO

from ferdata.errors import StoreError
from ferdata.mapping import read_at
from ferdata.remote.failures import IncompleteAnswerError

__all__ = ["WholeFiles"]

MOST_BYTES = 4 << 30
"""Most bytes of them that are kept, and never more than half of what is free; one file is always."""
_CHECK_SECONDS = 0.2

Put = Callable[[bytes], object]
Files = OrderedDict[str, tuple[IO[bytes], int]]


class WholeFiles:
    """What was fetched whole, by address; for any number of threads.

    Args:
        where: What a person calls the server.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._turn = threading.Condition()
        self._files: Files = OrderedDict()
        self._fetching: set[str] = set()
        self._is_told = False
        weakref.finalize(self, _let_go_of_all, self._files)

    @property
    def has_come(self) -> bool:
        """Whether the server sent one where a part was asked for."""
        return self._is_told

    def read(self, url: str, start: int, stop: int) -> bytes | None:
        """Return the bytes ``[start, stop)`` of a file, fewer at its end; None if it is not here."""
        with self._turn:
            found = self._files.get(url)
            if found is None:
                return None
            self._files.move_to_end(url)
            return read_at(found[0].fileno(), stop - start, start)

    def size(self, url: str) -> int | None:
        """Return the size of a file; None if it is not here."""
        with self._turn:
            found = self._files.get(url)
            return None if found is None else found[1]

    async def take(self, url: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep the pieces of a file, unless somebody else is fetching it: then these are of no use."""
        with self._fetching_alone(url) as put:
            async for piece in pieces:
                if put is None:
                    break
                put(piece)

    def wait_for(self, url: str, check: Callable[[str], None]) -> int:
        """Wait for a file that somebody fetches; return its size.

        Args:
            url: The file.
            check: Called with the file now and then; what it raises ends waiting.

        Raises:
            IncompleteAnswerError: If it could not be fetched.
        """
        with self._turn:
            while url in self._fetching:
                check(url)
                self._turn.wait(_CHECK_SECONDS)
        if (size := self.size(url)) is None:
            raise IncompleteAnswerError("the whole file was asked for, and did not arrive")
        return size

    def forget(self, url: str) -> None:
        """Let go of a file, which is to be fetched again."""
        with self._turn:
            _let_go(self._files, url)

    @contextlib.contextmanager
    def _fetching_alone(self, url: str) -> Iterator[Put | None]:
        """Give what takes the pieces of a file; None if somebody else fetches it.

        Raises:
            StoreError: If there is no room for them.
        """
        self._tell()
        with self._turn:
            is_mine = url not in self._fetching
            self._fetching.add(url)
        if not is_mine:
            yield None
            return
        try:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(tempfile.TemporaryFile())
                yield file.write
                file.flush()
                stack.pop_all()
            self._keep(url, file)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._no_room() from error
        finally:
            with self._turn:
                self._fetching.discard(url)
                self._turn.notify_all()

    def _keep(self, url: str, file: IO[bytes]) -> None:
        """Keep a file, and let go of those that were not read for longest."""
        with self._turn:
            self._files[url] = file, file.tell()
            kept = sum(size for _, size in self._files.values())
            room = min(MOST_BYTES, (kept + shutil.disk_usage(tempfile.gettempdir()).free) // 2)
            while kept > room and len(self._files) > 1:
                oldest = next(iter(self._files))
                kept -= self._files[oldest][1]
                _let_go(self._files, oldest)

    def _no_room(self) -> OSError:
        """Return the error for a full disk: one that passes if there was something to let go of."""
        with self._turn:
            had = len(self._files)
            _let_go(self._files, *self._files)
        if had:
            return IncompleteAnswerError("no room was left for the file, other files were let go of")
        return StoreError(
            f"{self._where}: this server sends whole files instead of parts, and there is no room for one in "
            f"{tempfile.gettempdir()}, expected some; set TMPDIR to a folder with room, or use a server that supports "
            "HTTP ranges"
        )

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            warnings.warn(
                f"{self._where}: this server sends whole files instead of parts; each is fetched once and kept in "
                f"{tempfile.gettempdir()}, at most {MOST_BYTES / 1e9:.0f} GB of them: use a server that supports HTTP "
                "ranges, or keep all of them with cache=",
                stacklevel=2,
            )


def _let_go(files: Files, *urls: str) -> None:
    for url in urls:
        if (found := files.pop(url, None)) is not None:
            found[0].close()


def _let_go_of_all(files: Files) -> None:
    _let_go(files, *files)
