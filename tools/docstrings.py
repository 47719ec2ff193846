"""Lets the site show our docstrings as they are meant: what follows ``Example:`` is a session, not prose."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Calls the section by the name under which griffe knows it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one object."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
