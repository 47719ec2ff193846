"""Which column of a table is what: as the user names them, else by their usual names.

In: a header. Out: role -> column, and a sentence that says what was taken for what. Costs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import LayoutError, OptionError
from ferdata.sources.files.listing import shorten
from ferdata.sources.files.text_tables import of_role, plain_name, role_columns

__all__ = ["BOX_ROLES", "ROLES", "Columns", "parse_columns", "resolve_columns"]

BOX_ROLES = ("box", "x", "y", "w", "h", "x1", "y1", "x2", "y2")
ROLES = (
    "path",
    "label",
    "split",
    "person",
    "sequence",
    "valence",
    "arousal",
    "soft_labels",
    "key",
    "extra",
    *BOX_ROLES,
)
"""What a column can be; ``box`` is ``x, y, width, height`` in one cell, ``extra`` a JSON object of further values."""

_USUAL: Mapping[str, tuple[frozenset[str], ...]] = {
    "split": (frozenset(("split", "splits")), frozenset(("subset", "partition", "usage", "phase", "set"))),
    "person": (
        frozenset(("person", "personid")),
        frozenset(("subject", "subjectid", "identity", "identityid", "actor", "actorid", "speaker", "speakerid",
                   "participant", "participantid")),
    ),
    "sequence": (
        frozenset(("sequence", "sequenceid")),
        frozenset(("clip", "clipid", "video", "videoid", "videoname", "recording", "recordingid")),
    ),
    "valence": (frozenset(("valence",)),),
    "arousal": (frozenset(("arousal",)),),
    "key": (frozenset(("key",)),),
    "box": (frozenset(("box",)),),
}  # fmt: skip
_BOX_WORDS = ("face", "bbox", "box")
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"),
          ("xmin", "ymin", "width", "height"), ("xmin", "ymin", "w", "h"))  # fmt: skip
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"),
            ("x0", "y0", "x1", "y1"))  # fmt: skip
_PLACES = ("the image's path", "its label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns of one table are.

    Attributes:
        roles: Role -> number of the column, from 0.
        header: Names of all columns; empty where the table has no header.
    """

    roles: Mapping[str, int]
    header: tuple[str, ...]

    @property
    def extras(self) -> dict[str, int]:
        """Name -> number of the columns without a role, whose values go along with each image."""
        used = set(self.roles.values())
        return {name: number for number, name in enumerate(self.header) if number not in used and name.strip()}

    def describe(self) -> str:
        """Return what was taken for what, for the user."""
        shown = {role: self.header[number] if self.header else str(number + 1) for role, number in self.roles.items()}
        taken = ", ".join(f"{role} from {name!r}" for role, name in shown.items())
        rest = shorten(list(self.extras))
        return f"{taken}{f'; kept beside them: {rest}' if rest else ''}; name others with columns=."


def parse_columns(text: "str | Mapping[str, str] | None") -> dict[str, str]:
    """Return role -> column of what the user says: ``path=file,label=emotion``; nothing after ``=``: there is none.

    Raises:
        OptionError: If it is something else, or there is no such role.
    """
    if isinstance(text, Mapping):
        pairs = [(str(role), str(column)) for role, column in text.items()]
    else:
        parts = [part.partition("=") for part in (text or "").split(",") if part.strip()]
        if wrong := [role for role, mark, _ in parts if not mark]:
            raise OptionError(
                f"columns: {', '.join(wrong)} found, expected what each column is, as in path=file,label=emotion"
            )
        pairs = [(role.strip(), column.strip()) for role, _, column in parts]
    if unknown := [role for role, _ in pairs if role not in ROLES]:
        raise OptionError(f"columns: {', '.join(unknown)} found, expected only {', '.join(ROLES)} before =")
    return dict(pairs)


def resolve_columns(
    header: Sequence[str], asked: Mapping[str, str], where: str, *, has_header: bool = True, has_images: bool = False
) -> Columns:
    """Return what the columns of a table are.

    Args:
        header: The names of its columns; of a table without a header, its first row.
        asked: What the user says they are.
        where: Its path, for errors.
        has_header: Whether that row is a header. Otherwise columns are named by their numbers, from 1.
        has_images: The table holds the images themselves, and needs no path.

    Raises:
        LayoutError: If the path or the label is in no column or could be in several, or a column that is asked for is
            not there.
    """
    roles = {role: _named(header, name, where, role, has_header) for role, name in asked.items() if name}
    free = [name if number not in roles.values() else "" for number, name in enumerate(header)]
    paths, labels = role_columns(free)
    guesses = {} if has_images else {"path": paths}
    guesses |= {"label": labels} | {role: of_role(free, groups) for role, groups in _USUAL.items()}
    needed = {"label"} if has_images else {"path", "label"}
    for role, found in guesses.items() if has_header else ():
        if role not in asked and len(found) == 1:
            roles[role] = found[0]
        elif role not in asked and (found or role in needed):
            raise LayoutError(_doubt(role, [header[number] for number in found], header, where))
    if without := sorted(needed - roles.keys()):
        if has_header:
            raise OptionError(f"columns: no column for {' and '.join(without)} found, expected one; name it")
        raise LayoutError(
            f"{where}: no header found, but {shorten(list(header))}, expected to know which column is what; "
            "number them from 1, as in columns=path=1,label=2"
        )
    if has_header and not {*BOX_ROLES} & {*asked, *roles}:
        roles |= _box(free)
    _check_box(roles, where)
    ordered = {role: roles[role] for role in ROLES if role in roles}
    return Columns(roles=ordered, header=tuple(header) if has_header else ())


def _named(header: Sequence[str], name: str, where: str, role: str, has_header: bool) -> int:
    exact = [number for number, cell in enumerate(header) if has_header and cell == name]
    alike = [number for number, cell in enumerate(header) if has_header and plain_name(cell) == plain_name(name)]
    found = exact or alike
    if not found and name.isdecimal() and 1 <= int(name) <= len(header):
        found = [int(name) - 1]
    if len(found) == 1:
        return found[0]
    names = shorten(list(header)) if has_header else f"1 to {len(header)}, as there is no header"
    raise LayoutError(
        f"{where}: {len(found) or 'no'} column{'s' * (len(found) != 1)} {name!r} found for {role}, "
        f"expected one of {names}; correct columns="
    )


def _doubt(role: str, found: Sequence[str], header: Sequence[str], where: str) -> str:
    usual = "image, path, file, filename ..." if role == "path" else "label, emotion, expression, class ..."
    expected = f"one with {_PLACES[role == 'label']} ({usual})" if role in ("path", "label") else f"one {role} at most"
    say = f"say which with columns={role}=" + (found[0] if found else "NAME")
    none = f", or columns={role}= for none" if role not in ("path", "label") else ""
    what = f"columns {shorten(list(found))} that can all be the {role}" if found else f"header {shorten(list(header))}"
    return f"{where}: {what} found, expected {expected}; {say}{none}"


def _box(header: Sequence[str]) -> dict[str, int]:
    """Return the columns of a box by their usual names: a corner and a size, or two corners."""
    plain = [_without_box_word(plain_name(cell)) for cell in header]
    for roles, forms in ((("x", "y", "w", "h"), _SIZES), (("x1", "y1", "x2", "y2"), _CORNERS)):
        for names in forms:
            if all(plain.count(name) == 1 for name in names):
                return {role: plain.index(name) for role, name in zip(roles, names, strict=True)}
    return {}


def _without_box_word(name: str) -> str:
    return next((name.removeprefix(word) for word in _BOX_WORDS if name.startswith(word) and name != word), name)


def _check_box(roles: Mapping[str, int], where: str) -> None:
    given = {role for role in BOX_ROLES if role in roles}
    if given and given not in ({"box"}, {"x", "y", "w", "h"}, {"x1", "y1", "x2", "y2"}):
        raise LayoutError(
            f"{where}: columns for {', '.join(sorted(given))} found, expected x, y, w and h, or x1, y1, x2 and y2, "
            "or box alone; name all of one kind in columns="
        )
