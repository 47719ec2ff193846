"""Which items belong together, so that they are never in two splits: by a field of theirs, or by a part of their path.

In: a scan and what to group by. Out: a number per item. Costs a microsecond or two per item, if it is asked for.
"""

import json
import re
from collections.abc import Hashable

import numpy as np

from ferdata.errors import OptionError
from ferdata.sources.scan import Scan

__all__ = ["find_groups"]


def find_groups(scan: Scan, by: str) -> np.ndarray:
    """Return int64 ``[items]``, equal where items belong together.

    Args:
        scan: The scan.
        by: Name of a field that the source gives with its images, or a regular expression with parentheses, which is
            searched in the path below the source folder; what the parentheses catch is the group.

    Raises:
        OptionError: If an item has no such field, or the expression is not found in its path.
    """
    paths = scan.items.table.column("path").to_pylist()
    found: list[Hashable | None]
    if "(" in by:
        pattern = re.compile(by)
        found = [match.groups() if (match := pattern.search(path)) else None for path in paths]
        what = f"a path in which {by!r} is found"
    else:
        extras = [json.loads(text) if text else {} for text in scan.items.table.column("extra").to_pylist()]
        found = [None if (value := extra.get(by)) is None else json.dumps(value) for extra in extras]
        fields = sorted({name for extra in extras for name in extra})
        what = f"a field {by!r}; fields are {', '.join(fields) or 'none in this source'}"
    if missing := [path for path, group in zip(paths, found, strict=True) if group is None]:
        raise OptionError(
            f"group_by: {len(missing):,} of {len(paths):,} images do not have {what}, such as {missing[0]}; "
            "name a field that all have, or the part of every path that names its group, "
            "as in group_by='(person[0-9]+)'"
        )
    numbers: dict[Hashable | None, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in found], np.int64)
