"""The house: which room may import which, and what each file may hold."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    {"ferdata.errors", "ferdata.shown", "ferdata.program"},
    {"ferdata.sample"},
    {f"ferdata.{name}" for name in ("store", "remote", "lock", "labels", "own", "parallel", "place", "randomness", "strata")},
    {"ferdata.images", "ferdata.format"},
    {"ferdata.sources"},
    {"ferdata.synth"},
    {"ferdata.ingest", "ferdata.dataset"},
    {"ferdata.stream"},
    {"ferdata.console"},
    {"ferdata.plan"},
    {"model"},
    {"ferdata_bench"},
    {"cli"},
]
"""From left to right; a module imports only from its own room and rooms to its left."""

APART = [("ferdata.images", "ferdata.format"), ("ferdata.ingest", "ferdata.stream"), ("ferdata.synth", "ferdata.stream")]
"""Rooms that do not know each other: what they share is the format."""

OWNERS = {"zstandard": "ferdata/format/codec.py", "fsspec": "ferdata/store.py"}


def modules() -> list[Path]:
    return [path for folder in ("ferdata", "ferdata_bench", "model") for path in sorted((ROOT / folder).rglob("*.py"))] + [ROOT / "cli.py"]


def imports(path: Path) -> set[str]:
    """Return every module a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


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
        assert not [name for name in imports(path) if name.split(".")[0] in OWNERS and OWNERS[name.split(".")[0]] != relative]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_nothing_left_of_the_stream_imports_torch(path: Path) -> None:
    """Converting images must not wait seconds for a library that it does not use."""
    if (room_of(dotted(path)) or 0) < room_of("ferdata.stream") and dotted(path) != "ferdata":  # type: ignore[operator]
        assert not [name for name in imports(path) if name.split(".")[0] in ("torch", "torchvision")]


@pytest.mark.parametrize("path", [*modules(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda path: path.stem)
def test_no_file_passes_400_lines(path: Path) -> None:
    """A file that long has more than one reason to change."""
    assert len(path.read_text().splitlines()) <= 400
