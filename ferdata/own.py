"""Makes the command line find its own packages: ``model`` is also what people call a file of their own beside their data.

In: nothing. Out: a finder in front of Python's own, for the two packages outside of this one. Imports nothing itself.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ["prefer_own"]

NAMES = ("model", "ferdata_bench")
HOME = Path(__file__).resolve().parents[1]


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of one of our packages, or None for everything else."""
        start = HOME / name / "__init__.py"
        if name not in NAMES or not start.is_file():
            return None
        return spec_from_file_location(name, start, submodule_search_locations=[str(start.parent)])


def prefer_own() -> None:
    """Make this process import ferdata's packages, whatever is in the folder it runs in."""
    sys.meta_path.insert(0, _Finder)
