"""Writes ``docs/commands.md`` from the options themselves: every verb, every option, its default and what it does.

Run ``python tools/commands.py`` after an option has changed (``-`` prints the page); a test compares the two.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

from typer.models import ArgumentInfo, OptionInfo

from ferdata.console.app import VERBS, function_of

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"

HEAD = """# Commands

Every verb of `python cli.py` (or `ferdata`, or `python -m ferdata`) and every option. `tools/commands.py` makes this
page from the options themselves; a verb's `--help` shows the same in a terminal. Exit codes: 0 done, 1 an error that
one line explains, 2 wrong usage.
"""


def page() -> str:
    """Return the page as Markdown."""
    contents = [f"[`{verb}`](#{verb}) {_lower(text)}" for verb, text in VERBS.items()]
    return "\n".join([HEAD, *(f"- {line}" for line in contents), *map(_verb, VERBS)])


def _lower(text: str) -> str:
    return text[0].lower() + text[1:].rstrip(".")


def _verb(verb: str) -> str:
    arguments: list[str] = []
    panels: dict[str, list[str]] = {}
    usage = [f"python cli.py {verb}"]
    for name, parameter in inspect.signature(function_of(verb)).parameters.items():
        if name == "context":
            continue
        kind, info = _annotated(parameter.annotation)
        default = parameter.default
        if isinstance(info, ArgumentInfo):
            word = (info.metavar or name.upper()).strip("[]")
            usage.append(word if default is inspect.Parameter.empty else f"[{word}]")
            arguments.append(_row(f"`{word}`", default, info))
        else:
            panels.setdefault(info.rich_help_panel or "Options", []).append(
                _row(_flags(name, kind, info), default, info)
            )
    parts = [f"\n## {verb}\n", VERBS[verb], "", f"    {' '.join(usage)} [OPTIONS]"]
    if arguments:
        parts += ["\n| argument | default | what it is |", "|---|---|---|", *arguments]
    for panel, rows in panels.items():
        parts += [f"\n**{panel}**\n", "| option | default | what it does |", "|---|---|---|", *rows]
    return "\n".join(parts)


def _annotated(annotation: Any) -> tuple[Any, OptionInfo | ArgumentInfo]:
    if get_origin(annotation) is not Annotated:
        raise TypeError(f"{annotation}: expected Annotated with an option")
    kind, *extras = get_args(annotation)
    return kind, next(extra for extra in extras if isinstance(extra, OptionInfo | ArgumentInfo))


def _flags(name: str, kind: Any, info: OptionInfo) -> str:
    usual = f"--{name.replace('_', '-')}"
    plain = [each for each in _kinds(kind) if each is not NoneType]
    declared = [each for each in (info.default, *(info.param_decls or ())) if str(each).startswith("-")]
    if declared:  # in Annotated, typer keeps the first as what would elsewhere be the default
        flags = [flag for each in declared for flag in each.split("/")]
    else:
        flags = [usual, f"--no-{usual[2:]}"] if plain == [bool] else [usual]
    value = "" if plain == [bool] else f" {info.metavar or _metavar(plain)}"
    if "|" in value:
        value = f" {{{value.strip(' {}').replace('|', ',')}}}"
    return ", ".join(f"`{flag}{value}`" for flag in flags)


def _kinds(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is UnionType:
        yield from get_args(kind)
    else:
        yield kind


def _metavar(kinds: list[Any]) -> str:
    names = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
    return names.get(kinds[0], "TEXT")


def _row(name: str, default: Any, info: OptionInfo | ArgumentInfo) -> str:
    if default is inspect.Parameter.empty:
        shown = "required"
    elif isinstance(info.show_default, str):
        shown = info.show_default
    elif default is None or default == "" or default == ():
        shown = ""
    elif isinstance(default, bool):
        shown = "yes" if default else "no"
    else:
        shown = f"`{default}`"
    return f"| {name} | {shown} | {_cell(info.help or '')} |"


def _cell(text: str) -> str:
    text = re.sub(r"\s+", " ", text).replace("|", "\\|")
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        print(page())
    else:
        PAGE.write_text(page() + "\n", encoding="utf-8")
