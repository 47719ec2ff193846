"""What a sweep varies: settings of the trainer, each over some values or within a range.

In: a TOML file, or ``--vary lr=1e-3,1e-4``. Out: a :class:`SweepSpec` whose every value has the type of its setting.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from ferdata.errors import OptionError
from ferdata.setting import Option, either, options_of
from ferdata.training.options import TrainOptions

__all__ = ["PRETRAIN", "REPORT_SPECS", "Range", "SweepSpec", "read_spec"]

PRETRAIN = "pretrain."
"""What a setting of the run that others start from begins with: ``pretrain.epochs``."""

REPORT_SPECS = Path(__file__).parent / "specs"
"""Sweeps that come with the package, one for each table of the report."""

_OPTIONS = {option.name: option for option in options_of(TrainOptions)}
_OWN = ("out", "name", "resume", "seed")
"""What a sweep decides itself."""
_SHARDS = "shards"
_NONE = "none"
_TRUTHS = {"yes": True, "true": True, "no": False, "false": False}
_SECTIONS = ("title", "seeds", "trials", "train", "pretrain", "vary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Any number from ``low`` to ``high``; on a logarithmic scale, or whole."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def to_json(self) -> str:
        """Return the range as it is typed."""
        return f"{self.low:g}..{self.high:g}{':log' if self.is_log else ''}"


Values = tuple[Any, ...] | Range


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """Which runs a sweep is made of.

    Attributes:
        train: Settings that all runs share, by name.
        vary: Setting -> its values, or the range it is searched in. A name that begins with ``pretrain.`` is a setting
            of another run, which comes first and whose weights the run starts with.
        pretrain: Settings that all such first runs share.
        seeds: Each combination is run once with each.
        trials: How many combinations a search tries; None for a grid, which tries all.
        title: Heading of the page.
    """

    train: Mapping[str, Any]
    vary: Mapping[str, Values]
    pretrain: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    trials: int | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if not self.vary:
            raise OptionError("vary: nothing found, expected a setting and its values, as in vary=lr=1e-3,1e-4")
        ranges = [name for name, values in self.vary.items() if isinstance(values, Range)]
        if ranges and self.trials is None:
            raise OptionError(
                f"trials: none found, expected how many points of {', '.join(ranges)} to try; pass trials="
            )
        if not ranges and self.trials is not None:
            raise OptionError(
                f"trials: {self.trials} found, but every value is listed, expected a range to search in, as in "
                "vary=lr=1e-5..1e-2:log; leave trials= out"
            )
        if self.trials is not None and self.trials < 1:
            raise OptionError(f"trials: {self.trials} found, expected at least 1")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise OptionError(f"seeds: {list(self.seeds)} found, expected different whole numbers")
        if clashing := sorted(set(self.vary) & (set(self.train) | {PRETRAIN + name for name in self.pretrain})):
            raise OptionError(f"vary: {', '.join(clashing)} is fixed as well, expected one of the two")
        if any(name.startswith(PRETRAIN) for name in self.vary) and "init_from" in {*self.train, *self.vary}:
            raise OptionError("init_from: found beside settings of a run to start from, expected one of the two")

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain values."""
        vary = {
            name: values.to_json() if isinstance(values, Range) else list(values) for name, values in self.vary.items()
        }
        return asdict(self) | {"vary": vary, "seeds": list(self.seeds)}


def read_spec(
    source: str | None,
    *,
    vary: Sequence[str] = (),
    seeds: int | None = None,
    trials: int | None = None,
    train: Mapping[str, Any] | None = None,
) -> SweepSpec:
    """Return a spec out of a file and of what was typed beside it, which counts where both say something.

    A setting of the run that others start from, typed with one value, is a fixed one of all such runs if anything else
    is varied.

    Args:
        source: A TOML file, or the name of a sweep that comes with the package; None for none.
        vary: Texts such as ``lr=1e-3,1e-4``, ``batch-size=16,32``, ``dropout=0..0.7`` or ``lr=1e-5..1e-2:log``.
        seeds: Number of seeds; they are 0, 1, ...
        trials: Combinations that a search tries.
        train: Settings that all runs share.

    Raises:
        OptionError: If there is no such file, setting or value.

    Example:
        >>> read_spec(None, vary=["batch-size=16,32"], seeds=3).vary
        {'batch_size': (16, 32)}
    """
    record = _read(source) if source is not None else {}
    fixed = {**_section(record, "train"), **(train or {})}
    typed = dict(_typed(text) for text in vary)
    varied = {**_section(record, "vary", ranges=True), **typed}
    single = [
        name
        for name, values in typed.items()
        if name.startswith(PRETRAIN) and not isinstance(values, Range) and len(values) == 1
    ]
    first = {PRETRAIN + name: value for name, value in _section(record, "pretrain").items()}
    if len(varied) > len(single):
        first |= {name: varied.pop(name)[0] for name in single}
    listed = record.get("seeds", [0])
    return SweepSpec(
        train={name: value for name, value in fixed.items() if name not in varied},
        vary=varied,
        pretrain={name.removeprefix(PRETRAIN): value for name, value in first.items() if name not in varied},
        seeds=tuple(range(seeds) if seeds is not None else range(listed) if isinstance(listed, int) else listed),
        trials=trials if trials is not None else record.get("trials"),
        title=str(record.get("title", "")),
    )


def _read(source: str) -> dict[str, Any]:
    path = Path(source)
    packed = {each.stem: each for each in sorted(REPORT_SPECS.glob("*.toml"))}
    if not path.is_file() and source not in packed:
        raise OptionError(
            f"spec: {source} found, which is no file, expected a TOML file or one of {either(list(packed))}"
        )
    try:
        record = tomllib.loads((path if path.is_file() else packed[source]).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise OptionError(
            f"{source}: {error}, expected a TOML file with a table [vary]; see docs/training.md"
        ) from error
    if unknown := sorted(set(record) - set(_SECTIONS)):
        raise OptionError(f"{source}: {', '.join(unknown)} found, expected {either(_SECTIONS)}")
    return record


def _section(record: Mapping[str, Any], name: str, *, ranges: bool = False) -> dict[str, Any]:
    values = record.get(name, {})
    if not isinstance(values, Mapping):
        raise OptionError(f"{name}: {values!r} found, expected a table of settings, [{name}]")
    found: dict[str, Any] = {}
    for key, value in values.items():
        setting = key.replace("-", "_")
        if not ranges:
            found[setting] = _value(setting, value)
        elif isinstance(value, str):
            found[setting] = _values(setting, value)
        elif isinstance(value, Sequence):
            found[setting] = tuple(_value(setting, each) for each in value)
        else:
            raise OptionError(f"vary: {key} = {value!r} found, expected a list of values, or a range as text")
    return found


def _typed(text: str) -> tuple[str, Values]:
    name, equals, values = text.partition("=")
    setting = name.strip().lstrip("-").replace("-", "_")
    if not equals or not values.strip():
        raise OptionError(f"vary: {text!r} found, expected a setting and its values, as in lr=1e-3,1e-4")
    return setting, _values(setting, values)


def _values(setting: str, text: str) -> Values:
    low, dots, high = text.partition("..")
    if not dots or not _is_number(setting):  # a path may lead upwards
        return tuple(dict.fromkeys(_value(setting, each.strip()) for each in text.split(",")))
    high, _, scale = high.partition(":")
    ends = [_value(setting, each.strip()) for each in (low, high)]
    if scale not in ("", "log") or not all(isinstance(end, int | float) for end in ends) or not ends[0] < ends[1]:
        raise OptionError(
            f"vary: {setting}={text} found, expected a range of numbers such as 0..0.7, or 1e-5..1e-2:log"
        )
    if scale and ends[0] <= 0:
        raise OptionError(f"vary: {setting}={text} found, expected a range above 0 for a logarithmic scale")
    return Range(low=ends[0], high=ends[1], is_log=bool(scale), is_whole=all(isinstance(end, int) for end in ends))


def _option(setting: str) -> Option | None:
    """Return the option of a setting; None of one that any text can be the value of."""
    plain = setting.removeprefix(PRETRAIN)
    if plain in _OWN:
        raise OptionError(f"vary: {plain} found, which the sweep decides itself, expected another setting of train")
    if plain not in _OPTIONS and plain != _SHARDS:
        names = sorted({*_OPTIONS, _SHARDS}.difference(_OWN))
        raise OptionError(f"vary: {plain!r} found, expected one of {', '.join(names)}")
    return _OPTIONS.get(plain)


def _is_number(setting: str) -> bool:
    option = _option(setting)
    return option is not None and not {int, float}.isdisjoint(get_args(option.type) or (option.type,))


def _value(setting: str, value: Any) -> Any:
    """Return a value, typed or out of a file, as its setting takes it.

    Raises:
        OptionError: If it cannot be one.
    """
    option = _option(setting)
    if option is None:
        return value
    kinds = get_args(option.type) or (option.type,)
    if value is None or (value == _NONE and NoneType in kinds):
        return None
    if isinstance(option.default, tuple):  # augment=flip+crop
        names = value.split("+") if isinstance(value, str) else value
        return tuple(name for name in names if name and name != _NONE)
    try:
        if bool in kinds:
            return value if isinstance(value, bool) else _TRUTHS[value]
        for kind in (int, float):
            if kind in kinds:
                return kind(value) if kind is float or not isinstance(value, float) else _whole(value)
    except (KeyError, ValueError, TypeError) as error:
        raise OptionError(f"vary: {setting}={value} found, expected {_kind_name(kinds)}") from error
    return str(value)


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError
    return int(value)


def _kind_name(kinds: Sequence[Any]) -> str:
    names = {bool: "yes or no", int: "a whole number", float: "a number"}
    return next(name for kind, name in names.items() if kind in kinds) + (" or none" if NoneType in kinds else "")
