"""What the documents name exists: files, modules, commands, options, make targets, names in the code, ends of links."""

import re
from functools import lru_cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferdata.console.app import app
from ferdata.stream import FIELDS

ROOT = Path(__file__).parent.parent
TOPS = ("ferdata", "ferdata_bench", "model", "tests", "tools", "docs")
FILES = [
    path
    for path in [*ROOT.iterdir(), *(path for top in TOPS for path in sorted((ROOT / top).rglob("*")))]
    if path.is_file()
]
DOCS = [path for path in FILES if path.suffix == ".md"]
OTHERS_OPTIONS = {
    "--standalone",
    "--nnodes",
    "--nproc-per-node",
    "--max-restarts",
    "--rdzv-backend",
    "--rdzv-endpoint",
    "--rdzv-id",
}
"""Of torchrun."""
OTHERS_MODULES = {"np", "torch", "v2", "wandb"}
"""As documents abbreviate them; what is in them is not ours to check."""

ids = {"ids": lambda path: path.relative_to(ROOT).as_posix()}


def words(path: Path) -> list[str]:
    """Return what a document puts in backticks or in blocks of code."""
    text = path.read_text()
    return re.findall(r"```.*?```", text, re.DOTALL) + re.findall(
        r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )


@pytest.mark.parametrize("path", DOCS, **ids)
def test_every_file_that_is_named_exists(path: Path) -> None:
    """A reader looks for it, finds nothing, and believes the rest less."""
    files = [file.relative_to(ROOT) for file in FILES]
    named = {
        name for text in words(path) for name in re.findall(r"(?<![\w/.<*-])[\w*-]+(?:/[\w*.-]+)*\.(?:py|c|sh)\b", text)
    }

    dead = sorted(name for name in named if not any(file.match(name) for file in files))

    assert not dead


@pytest.mark.parametrize("path", DOCS, **ids)
def test_every_folder_of_the_code_that_is_named_exists(path: Path) -> None:
    """The map of the rooms is what a newcomer opens first."""
    tops = "|".join([*TOPS, "stream", "sources", "images", "format", "ingest", "synth", "plan", "console", "dataset"])
    named = {
        name for text in words(path) for name in re.findall(rf"(?<![\w/.<-])(?:{tops})(?:/\w+)*/(?=$|[\s,;)])", text)
    }

    assert not sorted(name for name in named if not any((top / name).is_dir() for top in (ROOT, ROOT / "ferdata")))


@pytest.mark.parametrize("path", DOCS, **ids)
def test_every_module_that_is_named_exists(path: Path) -> None:
    """`python -m` with a name of last month ends in a traceback."""
    named = set(re.findall(r"python -m (\w+(?:\.\w+)*)", path.read_text()))

    dead = [name for name in named if name.split(".")[0] in TOPS and not any(map(Path.is_file, _sources(name)))]

    assert not sorted(dead)


@pytest.mark.parametrize("path", DOCS, **ids)
def test_every_name_of_the_code_exists(path: Path) -> None:
    """A function or class that was renamed leaves its old name in the documents."""
    known = _words_of_the_code()
    named = {
        name
        for text in words(path)
        for name in re.findall(r"\b[a-z]\w*\.[A-Za-z_]\w*\b(?!/)|\b[a-z]\w*_\w+(?=\()", text)
    }

    ours = {name for name in named if name.split(".")[0] not in OTHERS_MODULES and not (ROOT / "docs" / name).exists()}

    assert not sorted(name for name in ours if not set(name.split(".")) <= known)


@pytest.mark.parametrize("path", DOCS, **ids)
def test_every_option_and_command_that_is_named_exists(path: Path) -> None:
    """What a document says to type must work as it stands."""
    text = path.read_text().replace("\\\n", " ")
    dead = []
    for line in re.split(r"\n|`", text):
        options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line)) - OTHERS_OPTIONS
        if command := re.search(r"(?:cli\.py|(?<![\w./])ferdata|^) ?\b([a-z][a-z-]+)\b(?= |$)", line.strip()):
            if command[1] in _commands():
                dead += [f"{command[1]} {option}" for option in options if option not in _help(command[1])]
                continue
            if "cli.py" in command[0]:
                dead.append(command[0])
        dead += [option for option in options if option not in _every_option()]
    targets = re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)
    dead += [f"make {target}" for target in targets if f"\n{target}:" not in (ROOT / "Makefile").read_text()]

    assert not sorted(set(dead))


def test_the_page_on_loading_names_the_fields_of_a_batch() -> None:
    """A field by its old name is an error at the first line that a reader copies."""
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/loading.md").read_text(), re.MULTILINE)

    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(FIELDS)


@pytest.mark.parametrize("path", DOCS, **ids)
def test_every_link_ends_somewhere(path: Path) -> None:
    """Also within a page: a heading that was reworded breaks the links to it."""
    dead = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text()):
        page = path.parent / target if target else path
        headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE) if anchor and page.is_file() else []
        if not page.exists() or (
            anchor and anchor not in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        ):
            dead.append(f"{target}#{anchor}")

    assert not dead


def _sources(module: str) -> list[Path]:
    place = ROOT.joinpath(*module.split("."))
    return [place.with_suffix(".py"), place / "__main__.py"]


@lru_cache
def _words_of_the_code() -> set[str]:
    found = {part for file in FILES for part in file.relative_to(ROOT).with_suffix("").parts}
    return found.union(
        *(re.findall(r"\w+", file.read_text()) for file in FILES if file.suffix in (".py", ".c", ".h", ".cfg", ".toml"))
    )


@lru_cache
def _help(*command: str) -> str:
    """Return what a command says of itself, as wide as it likes."""
    environment = {"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}
    told = CliRunner().invoke(app, [*command, "--help"], env=environment)
    assert told.exit_code == 0, told.output
    return re.sub(r"--\[no-\]([\w-]+)", r"--\1 --no-\1", told.output)


@lru_cache
def _commands() -> list[str]:
    return re.findall(r"^[│ ]*([a-z][a-z-]+)  ", _help(), re.MULTILINE)


@lru_cache
def _every_option() -> set[str]:
    """Return the options of all commands, and of the modules that are run with ``python -m``."""
    told = [_help(command) for command in _commands()]
    told += re.findall(r'"--[a-z][\w-]*', "".join(file.read_text() for file in FILES if file.suffix in (".py", ".sh")))
    return set(re.findall(r"--[a-z][\w-]*", " ".join(told)))
