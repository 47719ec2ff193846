"""Packages that only some uses need, and the extras of ``setup.cfg`` that bring them.

In: an extra, and who asks for it. Out: what is imported inside, or one line that names the extra.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ferdata.errors import OptionError

__all__ = ["how_to_reach", "needs"]

_ADDRESSES = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


@contextmanager
def needs(extra: str, where: str, *packages: str, instead: str = "") -> Iterator[None]:
    """Import inside this what an extra brings.

    Args:
        extra: The extra.
        where: Who asks; the message begins with it.
        packages: What must be there too, although it is only imported later.
        instead: What else one can do, for the end of the message.

    Raises:
        OptionError: If a package is not installed.
    """
    try:
        for name in packages:
            if find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("ferdata"):
            raise
        raise OptionError(
            f"{where}: the package {error.name.partition('.')[0]} is not installed, expected it; "
            f"{_install(extra)}{instead}"
        ) from error


def how_to_reach(address: str) -> str:
    """Return what is expected of an address that cannot be opened, and what brings the package for its kind."""
    extra = _ADDRESSES.get(address.partition(":")[0])
    install = _install(extra) if extra else "check its spelling, or install the fsspec package for this kind"
    return f"expected an address that fsspec can open; {install}"


def _install(extra: str) -> str:
    return f"pip install 'ferdata[{extra}]'"
