"""Names of a package that are loaded when they are first used, so that importing it waits for nothing else.

In: the modules that hold the names. Out: what becomes the package's ``__getattr__``. For type checkers and readers the
package imports the same names where ``TYPE_CHECKING`` holds. No name may be that of a module of the package, which
would take its place.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a function that loads a name of a package from the module that holds it, once.

    Args:
        package: Name of the package.
        modules: Module -> the names that come from it.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
