"""The house: which room may import which, and what each file may hold."""

import ast
import re
import statistics
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    {
        "ferdata.errors",
        "ferdata.shown",
        "ferdata.program",
        "ferdata.bars",
        "ferdata.setting",
        "ferdata.lazy",
        "ferdata.optional",
    },
    {"ferdata.sample"},
    {
        f"ferdata.{name}"
        for name in (
            "store",
            "mapping",
            "mixing",
            "remote",
            "lock",
            "labels",
            "condition",
            "parallel",
            "place",
            "randomness",
            "strata",
        )
    },
    {"ferdata.images", "ferdata.format"},
    {"ferdata.cache"},
    {"ferdata.sources"},
    {"ferdata.synth"},
    {"ferdata.ingest", "ferdata.dataset"},
    {"ferdata.stream"},
    {"ferdata.plan", "ferdata.lightning"},
    {"model"},
    {"ferdata.audit"},
    {"ferdata_bench"},
    {"ferdata.console", "ferdata.__main__"},
    {"cli"},
]
"""From left to right; a module imports only from its own room and rooms to its left."""

APART = [
    ("ferdata.images", "ferdata.format"),
    ("ferdata.ingest", "ferdata.stream"),
    ("ferdata.synth", "ferdata.stream"),
]
"""Rooms that do not know each other: what they share is the format."""

OWNERS = {"zstandard": "ferdata/format/container/zstd_frame.py", "fsspec": "ferdata/store.py"}


def modules() -> list[Path]:
    return [
        path for folder in ("ferdata", "ferdata_bench", "model") for path in sorted((ROOT / folder).rglob("*.py"))
    ] + [ROOT / "cli.py"]


@cache
def imports(path: Path, *, at_import: bool = False) -> frozenset[str]:
    """Return every module that a file imports, wherever in the file, or only what it imports when it is imported."""
    found: set[str] = set()
    tree = _parsed(path)
    for node in _when_imported(tree) if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text().replace("ferdata.training", "model"))  # what it is called where it is imported


def _when_imported(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not is_for_types and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
            yield from _when_imported(node)


def _module_in(paths: Collection[str]) -> Callable[[str], str | None]:
    """Return a function that finds the module an imported name is, or is of."""
    return lambda name: next((each for each in (name, name.rpartition(".")[0]) if each in paths), None)


def room_of(module: str) -> int | None:
    for number, names in enumerate(ROOMS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return number
    return None


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_only_from_rooms_to_its_left(path: Path) -> None:
    """Data flows one way; a module that reaches to its right can no longer be understood or replaced alone."""
    own = room_of(dotted(path))
    if dotted(path) == "ferdata":
        return
    assert own is not None, f"{dotted(path)} has no room: name one in ROOMS and in docs/architecture.md"

    wrong = [name for name in imports(path) if (other := room_of(name)) is not None and other > own]

    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_neighbours_stay_apart_and_outside_packages_have_one_owner(path: Path) -> None:
    """The format knows nothing of images and folders, and a swapped dependency is a change of one file."""
    others = [pair[1 - side] for pair in APART for side in (0, 1) if f"{dotted(path)}.".startswith(f"{pair[side]}.")]

    assert not [name for name in imports(path) if any(f"{name}.".startswith(f"{other}.") for other in others)]
    if path.parts[len(ROOT.parts)] == "ferdata":
        relative = path.relative_to(ROOT).as_posix()
        assert not [
            name for name in imports(path) if name.split(".")[0] in OWNERS and OWNERS[name.split(".")[0]] != relative
        ]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_nothing_left_of_the_stream_imports_torch(path: Path) -> None:
    """Converting images must not wait seconds for a library that it does not use."""
    if (room_of(dotted(path)) or 0) < room_of("ferdata.stream") and dotted(path) != "ferdata":  # type: ignore[operator]
        assert not [name for name in imports(path) if name.split(".")[0] in ("torch", "torchvision")]


def test_no_modules_import_each_other() -> None:
    """In a circle, which of them works depends on which was imported first."""
    paths = {dotted(path): path for path in modules()}
    needs = {
        name: {found for found in map(_module_in(paths), imports(path, at_import=True)) if found} - {name}
        for name, path in paths.items()
    }

    while leaves := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in leaves:
            del needs[name]

    assert not needs


def test_the_document_names_every_room_in_this_order() -> None:
    """A room that is not on the map is not found, and the order that is drawn is the one that is held."""
    text = (ROOT / "docs/architecture.md").read_text()
    line = re.search(r"^    errors.*?-> cli\.py", text, re.MULTILINE | re.DOTALL)
    assert line is not None

    drawn = [set(re.findall(r"\w+", part.replace(".py", ""))) for part in line[0].split("->")]

    assert drawn == [{name.removeprefix("ferdata.") for name in names} for names in ROOMS]
    rooms = {name.removeprefix("ferdata.") for names in ROOMS for name in names} - {"cli"}
    assert not sorted(room for room in rooms if f"`{room}.py`" not in text and f"`{room}/`" not in text)


def test_the_median_file_has_under_130_lines() -> None:
    """Most files can be read without scrolling far."""
    lengths = [len(path.read_text().splitlines()) for path in modules() if path.name != "__init__.py"]

    assert statistics.median(lengths) < 130


@pytest.mark.parametrize("path", [*modules(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda path: path.stem)
def test_no_file_passes_400_lines(path: Path) -> None:
    """A file that long has more than one reason to change."""
    assert len(path.read_text().splitlines()) <= 400


def test_no_line_passes_120_columns() -> None:
    """Two files fit side by side; what is meant for a checker at the end of a line does not count."""
    tops = [ROOT / name for name in ("ferdata", "ferdata_bench", "model", "tests", "tools")]
    files = [ROOT / "cli.py", ROOT / "setup.py"]
    files += [path for top in tops for path in sorted(top.rglob("*")) if path.suffix in (".py", ".c", ".h")]
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(re.sub(r"  # (noqa|type: ignore).*", "", line)) > 120
    ]

    assert not wide


def test_no_two_test_files_bear_one_name() -> None:
    """pytest imports them by their names alone, and a second one of a name ends the whole run before it begins."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", [path for path in modules() if "ferdata_bench" not in path.parts], ids=dotted)
def test_pyarrow_starts_no_threads(path: Path) -> None:
    """A short program that has torch in it aborts if pyarrow's pool is still starting as it ends."""
    threaded = {"group_by", "iter_batches", "read_row_group", "read_row_groups", "read_table", "to_table"}
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in threaded:
            assert "use_threads=False" in [ast.unparse(keyword) for keyword in node.keywords], ast.unparse(node)
