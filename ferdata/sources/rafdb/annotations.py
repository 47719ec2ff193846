"""Read RAF-DB's annotation files: five manual points with gender, race and age, 37 automatic points, and the face box.

In: the root of a RAF-DB tree and stems. Out: what each image's files say, in the original's pixels. Reads each once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ferdata.parallel import iterate_in_threads
from ferdata.sources.files.listing import Folder, below, iter_names, list_folder
from ferdata.sources.files.matching import NameIndex, floats, whole_number
from ferdata.sources.files.text_tables import decode_text
from ferdata.store import Store

__all__ = ["AnnotationReader", "Annotations", "parse_box", "parse_manual", "parse_points", "read_distribution"]

GENDERS = ("male", "female", "unsure")
RACES = ("Caucasian", "African-American", "Asian")
AGES = ("0-3", "4-19", "20-39", "40-69", "70+")
NUM_AUTO_POINTS = 37
_MAX_BYTES = 1 << 16
_SUFFIXES = {"manual": "_manu_attri.txt", "auto": "_auto_attri.txt", "boundingbox": "_boundingbox.txt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """What the annotation files of one image hold; None where a file is missing or malformed.

    Attributes:
        manual: ``x0, y0, ...`` of two eye centres, nose tip and two mouth corners.
        auto: ``x0, y0, ...`` of 37 points.
        box: ``(x1, y1, x2, y2)``, the corners as written.
        person: ``gender``, ``race`` and ``age`` in words, those that are known.
    """

    manual: list[float] | None = None
    auto: list[float] | None = None
    box: tuple[float, float, float, float] | None = None
    person: dict[str, str] = field(default_factory=dict)


class AnnotationReader:
    """The annotation folders of one tree, listed once.

    Points and boxes fit the original images alone, so only ``original=True`` reads them; gender, race and age fit both.
    """

    def __init__(self, store: Store, top: Folder, *, original: bool) -> None:
        self._store, self._original = store, original
        self._folders: dict[str, tuple[str, NameIndex]] = {}
        parent = top.dir("Annotation") or top.dir("Annotations")
        inner = list_folder(store, parent) if parent else top
        for kind in ("manual", "auto", "boundingbox") if original else ("manual",):
            path = inner.dir(kind) or top.dir(kind)
            if path is not None:
                path = list_folder(store, path).dir(kind) or path
                self._folders[kind] = path, NameIndex(name for name, is_dir in iter_names(store, path) if not is_dir)

    @property
    def kinds(self) -> list[str]:
        """Annotation folders that are there, out of manual, auto and boundingbox."""
        return list(self._folders)

    def read(self, stems: Sequence[str], *, num_workers: int) -> Iterator[Annotations]:
        """Yield what is known of each stem, in the order of ``stems``."""
        if not self._folders:
            yield from (Annotations() for _ in stems)
            return
        yield from iterate_in_threads(self._read_one, stems, num_threads=num_workers)

    def _read_one(self, stem: str) -> Annotations:
        points, person = parse_manual(self._text("manual", stem))
        if not self._original:
            return Annotations(person=person)
        return Annotations(
            manual=points,
            auto=parse_points(self._text("auto", stem).splitlines(), NUM_AUTO_POINTS),
            box=parse_box(self._text("boundingbox", stem)),
            person=person,
        )

    def _text(self, kind: str, stem: str) -> str:
        if kind not in self._folders:
            return ""
        path, names = self._folders[kind]
        found = names.find(f"{stem}{_SUFFIXES[kind]}")
        return decode_text(self._store.read_range(below(path, found[0]), 0, _MAX_BYTES)) if len(found) == 1 else ""


def parse_manual(text: str) -> tuple[list[float] | None, dict[str, str]]:
    """Return the five points and the person's gender, race and age; nothing of a file that has not eight lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 8:
        return None, {}
    person: dict[str, str] = {}
    for name, words, line in zip(("gender", "race", "age"), (GENDERS, RACES, AGES), lines[5:], strict=True):
        number = whole_number(line)
        if number is not None and 0 <= number < len(words):
            person[name] = words[number]
    return parse_points(lines[:5], 5), person


def parse_points(lines: Sequence[str], count: int) -> list[float] | None:
    """Return ``x0, y0, ...`` of ``count`` lines with two numbers each, or None if they are anything else."""
    rows = [_numbers(line) for line in lines if line.strip()]
    are_points = len(rows) == count and all(len(row) == 2 for row in rows)
    return [value for row in rows for value in row] if are_points else None


def parse_box(text: str) -> tuple[float, float, float, float] | None:
    """Return the four numbers of the first line, or None if it holds anything else."""
    lines = [line for line in text.splitlines() if line.strip()]
    row = _numbers(lines[0]) if lines else []
    return (row[0], row[1], row[2], row[3]) if len(row) == 4 else None


def read_distribution(lines: Iterable[str]) -> dict[str, list[float]]:
    """Return stem -> seven class shares in RAF id order, from ``distribution_basic.txt``, without malformed lines."""
    found: dict[str, list[float]] = {}
    for line in lines:
        name, _, rest = line.strip().partition(" ")
        shares = _numbers(rest)
        if len(shares) == 7:
            found[name.rsplit(".", 1)[0].lower()] = shares
    return found


def _numbers(text: str) -> list[float]:
    return floats(text.replace(",", " ").split()) or []
