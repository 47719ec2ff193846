"""Files of any other service, through its fsspec file system: object stores and what else there is.

In: a name and a range. Out: its bytes. Costs a request; those of asynchronous file systems end when they are told to.
"""

from typing import Any

from ferdata.remote.patience import Patience
from ferdata.remote.protocols import another

__all__ = ["Objects"]


class Objects:
    """A service, for any number of threads; see :class:`ferdata.remote.web.Web`, which has the same methods.

    Args:
        fs: Its file system; what it would ask for several times, or in several parts, it asks for once from now on.
        patience: What ends waiting.
    """

    sends_whole_files = False

    def __init__(self, fs: Any, patience: Patience) -> None:
        self._fs, self._patience = _asking_once(fs), patience

    def read(
        self,
        name: str,
        part: tuple[int, int] | None,
        *,
        is_fresh: bool,
        is_new: bool,
        room: memoryview | None = None,
    ) -> bytes | memoryview:
        """Return the bytes ``[start, stop)`` of a file, or all of it; through another client if ``is_new``.

        ``room`` is of no use here: these file systems give fresh memory.
        """
        start, stop = part or (None, None)
        fs = self._fs
        if is_new:
            fs = _asking_once(another(fs))
        elif is_fresh:
            fs.invalidate_cache()
        elif part is None:
            fs.invalidate_cache(name)  # some look the size of a whole file up in a listing, if they have one
        self._patience.asked()
        if not fs.async_impl:
            return bytes(fs.cat_file(name, start=start or None, end=stop))
        return bytes(self._patience.wait_for(fs._cat_file(name, start=start or None, end=stop), fs.loop))

    def size(self, name: str) -> int:
        """Return the size of a file, not from a listing that was kept: other processes may have written since."""
        self._fs.invalidate_cache(name)
        return int(self._fs.size(name))

    def exists(self, name: str) -> bool:
        """Tell whether there is a file, or a folder that holds any."""
        self._fs.invalidate_cache(name)
        return bool(self._fs.exists(name))


def _asking_once(fs: Any) -> Any:
    if "s3" in fs.protocol:  # what others call so may be something else
        fs.retries = fs.max_concurrency = 1
    return fs
