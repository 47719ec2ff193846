"""What a field of an options dataclass says of itself: a sentence, the values it takes, and where ``--help`` lists it.

In: ``size: Annotated[int, Setting("Make tensors of this height and width.", least=1)] = 224``. Out: one check of the
values of every such class, and all that a command line is made from. A field without one is for Python alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, Field, dataclass, fields, is_dataclass, replace
from functools import cache, wraps
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from ferdata.errors import OptionError

__all__ = ["Option", "Setting", "build", "check_settings", "either", "flat", "options_of"]

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class Setting:
    """What one option is for.

    Attributes:
        help: A sentence for the user.
        panel: The panel of ``--help`` that lists it; None for the first one.
        none: What is taken where it is None.
        choices: The values it takes, where it takes only some.
        least: Smallest number it takes.
        most: Largest number it takes.
        flag: How it is typed, where that is not its name with dashes.
        metavar: What ``--help`` calls its value.
    """

    help: str
    panel: str | None = None
    _: KW_ONLY
    none: str | None = None
    choices: tuple[Any, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    flag: str | None = None
    metavar: str | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A field with its setting."""

    name: str
    type: Any
    default: Any
    setting: Setting

    @property
    def flags(self) -> list[str]:
        """What is typed to give it; of a switch, also what is typed to take it back."""
        if self.setting.flag is not None:
            return self.setting.flag.split("/")
        flag = "--" + self.name.replace("_", "-")
        return [flag, f"--no{flag[1:]}"] if self.type is bool else [flag]


@cache
def options_of(kind: Any) -> tuple[Option, ...]:
    """Return every option of a dataclass, those of dataclasses that it holds included."""
    found: list[Option] = []
    for field, hint in _fields(kind):
        if _is_options(hint):
            found += options_of(hint)
        elif get_origin(hint) is Annotated:
            base, *extras = get_args(hint)
            found += [Option(field.name, base, field.default, extra) for extra in extras if isinstance(extra, Setting)]
    return tuple(found)


def build(kind: Callable[..., Options], values: Mapping[str, Any]) -> Options:
    """Return options with these values; one that is no field's goes to the dataclass within that has it as an option.

    Raises:
        TypeError: If there is none.
    """
    return kind(**_nested(kind, values))


def flat(kind: type[Options]) -> type[Options]:
    """Let a dataclass take the options of those it holds by their own names: ``IngestOptions(size=100)``."""
    plain = kind.__init__

    @wraps(plain)
    def init(self: Any, **values: Any) -> None:
        plain(self, **_nested(kind, values))

    kind.__init__ = init  # type: ignore[method-assign]
    return kind


def _nested(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    own = {field.name: values[field.name] for field, _ in _fields(kind) if field.name in values}
    rest = {name: value for name, value in values.items() if name not in own}
    for field, hint in _fields(kind):
        if rest and _is_options(hint):
            within = {option.name: rest.pop(option.name) for option in options_of(hint) if option.name in rest}
            if within:
                own[field.name] = replace(own[field.name], **within) if field.name in own else build(hint, within)
    if rest:
        raise TypeError(
            f"{', '.join(sorted(rest))}: no such option found, "
            f"expected {', '.join(field.name for field, _ in _fields(kind))}"
        )
    return own


def check_settings(options: object) -> None:
    """See that each value is one of the choices, or in the range, that its setting names.

    Raises:
        OptionError: If one is not.
    """
    kind: Any = type(options)
    for option in options_of(kind):
        if not hasattr(options, option.name):
            continue  # of a dataclass within, which checks it itself
        value: Any = getattr(options, option.name)
        setting = option.setting
        if value is None and NoneType in get_args(option.type):
            continue
        if setting.choices and value not in setting.choices:
            raise OptionError(f"{option.name}: {value!r} found, expected {either(setting.choices)}")
        if (setting.least, setting.most) == (-math.inf, math.inf) or setting.least <= value <= setting.most:
            continue
        within = (
            f"{setting.least:,} to {setting.most:,}" if math.isfinite(setting.most) else f"at least {setting.least}"
        )
        raise OptionError(f"{option.name}: {value} found, expected {within}")


def either(choices: Sequence[Any]) -> str:
    """Return values as a choice: ``a, b or c``."""
    *words, last = map(str, choices)
    return f"{', '.join(words)} or {last}" if words else last


@cache
def _fields(kind: Any) -> tuple[tuple[Field[Any], Any], ...]:
    """Return each field with its type."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field, hints[field.name]) for field in fields(kind))


def _is_options(hint: Any) -> bool:
    return is_dataclass(hint)
