"""Options of the command line: those that many verbs share, and those made from the dataclasses of the library.

In: what a user typed. Out: the same, checked before hours of work, or an error in one line. Nothing is made here but
the files of ``--json`` at the end.
"""

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

import typer

from ferdata.console.screen import console, show_note
from ferdata.errors import OptionError
from ferdata.parallel import check_workers, crowding
from ferdata.place import check_file, check_folder, is_standard_output
from ferdata.remote import PATIENCE_SECONDS, all_counts, be_patient
from ferdata.setting import Option, build, either, options_of
from ferdata.shown import without_credentials
from ferdata.store import write_file_at

__all__ = [
    "CacheGb",
    "FileOut",
    "Findings",
    "Folder",
    "Given",
    "Json",
    "Level",
    "LocalOut",
    "MaybeFileOut",
    "Out",
    "OutOrUsual",
    "Picture",
    "Plot",
    "Sets",
    "Shards",
    "Workers",
    "check_codec",
    "local_folder",
    "names",
    "one_of",
    "spread",
    "write_json",
]

PICTURES = (".png", ".svg")

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class Given(Generic[Options]):
    """A verb's parameter of this type stands for an option for each setting of a dataclass: ``asked: Given[Options]``.

    Attributes:
        kind: The dataclass.
        values: The value of every option, by name.
        typed: Names of the options that were typed, and do not merely have their default.
    """

    kind: type[Options]
    values: dict[str, Any]
    typed: tuple[str, ...]

    def build(self, **values: Any) -> Options:
        """Return the dataclass, with these values beside the options' own or instead of them."""
        return build(self.kind, self.values | values)


def spread(verb: Callable[..., None], *, reads_urls: bool, has_loaders: bool = False) -> Callable[..., None]:
    """Return a verb as a function that typer makes a command of: with an option for each setting that it is given.

    One that reads what lies behind URLs has ``--patience`` too, and ends with a note on what had to be asked for again;
    one that reads it by loaders has ``--cache``.
    """
    parameters = dict(inspect.signature(verb).parameters)
    given = {
        name: get_args(each.annotation)[0] for name, each in parameters.items() if get_origin(each.annotation) is Given
    }
    options = {name: [each for each in options_of(kind) if each.name not in parameters] for name, kind in given.items()}

    def run(context: typer.Context, **values: Any) -> None:
        typed = {name for name in values if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
        for name, kind in given.items():
            own = {option.name: values.pop(option.name) for option in options[name]}
            values[name] = Given(kind, own, tuple(field.name for field in fields(kind) if field.name in typed))
        if reads_urls:
            be_patient(values.pop("patience"))
        if has_loaders:
            from ferdata.cache import use_cache

            use_cache(values.pop("cache"), values.pop("cache_gb"))
        try:
            verb(**values)
        finally:
            if mended := str(all_counts()):
                show_note(mended)

    shown = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for name, parameter in parameters.items():
        shown += (
            map(_parameter, options[name])
            if name in given
            else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    common: dict[str, tuple[Any, Any]] = {"patience": (PATIENCE_SECONDS, _Patience)} if reads_urls else {}
    common |= {"cache": (None, _Cache), "cache_gb": (None, CacheGb)} if has_loaders else {}
    for name, (default, kind) in common.items():
        shown.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run


def _parameter(option: Option) -> inspect.Parameter:
    """Return the parameter of a function that typer makes this option of."""
    setting = option.setting
    kinds = get_args(option.type) if get_origin(option.type) is UnionType else (option.type,)
    plain = next((kind for kind in kinds if kind in (bool, int, float, str)), None)
    info = typer.Option(
        "/".join(option.flags),
        help=setting.help,
        rich_help_panel=setting.panel,
        metavar=setting.metavar or "|".join(map(str, setting.choices)) or None,
        show_default=setting.none or True,
        callback=_workers
        if option.name == "num_workers" and option.default is None
        else names
        if plain is None
        else None,
    )
    kind = (plain or str) | None if NoneType in kinds else plain or str
    default = ",".join(option.default) if plain is None else option.default
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default
    )


def _file(option: str) -> Callable[[str | None], str | None]:
    """Return a check of a file; if it is the standard output, what is said to people goes to standard error instead."""

    def checked(path: str | None) -> str | None:
        found = None if path is None else check_file(path, option=option)
        if found is not None and is_standard_output(found):
            console.stderr = True
        return found

    return checked


def _plot_file(path: str | None) -> str | None:
    if path is None:
        return None
    if "://" in path or Path(path).suffix.lower() not in PICTURES:
        raise OptionError(
            f"--plot {path}: expected a local file that ends in {' or '.join(PICTURES)} (both are written); name one"
        )
    for suffix in PICTURES:
        check_file(str(Path(path).with_suffix(suffix)), option="--plot")
    return check_file(path, option="--plot")


def local_folder(option: str) -> Callable[[str], str]:
    """Return a check of a folder that is to be written and may not be a URL."""

    def checked(path: str) -> str:
        if "://" in path:
            raise OptionError(f"{option} {path}: a URL found, expected a local folder; name one")
        return check_folder(path, option=option)

    return checked


def _cache_folder(path: str | None) -> str | None:
    return None if path is None else local_folder("--cache")(path)


def _out_folder(path: str | None) -> str | None:
    return None if path is None else check_folder(path, option="--out")


def _workers(number: int | None) -> int | None:
    if number is not None:
        check_workers(number, least=0)  # of none, the verb knows what to make
        if note := crowding(number):
            show_note(note)
    return number


Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write every figure to this file; - for standard output.",
        callback=_file("--json"),
    ),
]
Plot = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Draw the bar chart to this file, as PNG and as SVG side by side.", callback=_plot_file
    ),
]
Picture = Annotated[
    str,
    typer.Option(
        "--out", metavar="FILE", help="Write the PNG to this file; - for standard output.", callback=_file("--out")
    ),
]
MaybeFileOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the table to this file (csv; an mp4 file of a video); - for standard output.",
        callback=_file("--out"),
    ),
]
FileOut = Annotated[str, typer.Option("--out", metavar="FILE", help="Write to this file.", callback=_file("--out"))]
Findings = Annotated[
    str | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help="Write every finding to this file; - for standard output.",
        callback=_file("--csv"),
    ),
]
Out = Annotated[str, typer.Option(metavar="DIR", help="Write to this folder or URL.", callback=_out_folder)]
LocalOut = Annotated[
    str, typer.Option("--out", metavar="DIR", help="Write everything to this folder.", callback=local_folder("--out"))
]
OutOrUsual = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Write the data set to this folder or URL.",
        show_default="shards/<source>",
        callback=_out_folder,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Start this many worker processes.", show_default="one per core", callback=_workers),
]
_Patience = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", help="Wait so long for a service behind a URL that is gone, asking again, before giving up."
    ),
]
_Cache = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Keep what lies behind a URL in this folder, for later epochs, other processes and other runs.",
        callback=_cache_folder,
    ),
]
CacheGb = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        help="Let the cache folder hold so many gigabytes; what nobody uses goes, least recently used first.",
        show_default="no limit",
    ),
]
Folder = Annotated[str, typer.Argument(metavar="DIR", help="The folder or URL of a finished data set.")]
Shards = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Read the data set in this folder or URL.", show_default="one found here, or a built-in one"
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--shards",
        metavar="DIR[:WEIGHT]",
        help="Read the data set in this folder or URL; named several times, a mix of them, by their weights if any.",
        show_default="one found here, or a built-in one",
    ),
]
Level = Annotated[
    int | None,
    typer.Option(help="Compress at this zstd level; lower is faster and larger.", show_default="the codec's own"),
]


def check_codec(codec: str, known: list[str]) -> None:
    """See that a codec is one of those the verb knows.

    Raises:
        OptionError: If not.
    """
    if codec not in known:
        raise OptionError(f"--codec: {codec!r} found, expected {either(known)}")


def one_of(known: Iterable[str], *, metavar: str, help: str) -> Any:
    """Return an argument whose value is one of these names; any other is wrong usage."""
    allowed = list(known)

    def checked(name: str) -> str:
        if name not in allowed:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, allowed))}.")
        return name

    return typer.Argument(metavar=metavar, help=f"{help}: {either(allowed)}.", callback=checked)


def names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list; ``none`` stands for no name."""
    return tuple(name for name in text.split(",") if name and name != "none")


def write_json(path: str | None, figures: dict[str, Any]) -> None:
    """Write a verb's figures where ``--json`` says, and what reading from behind URLs has met if there was any."""
    if path is not None:
        if (counts := all_counts()).requests:
            figures = {**figures, "remote": asdict(counts)}
        write_file_at(path, (json.dumps(without_credentials(figures), indent=1) + "\n").encode())
