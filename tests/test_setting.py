"""Settings: one place says what an option is, and Python, the command line and the errors take it from there."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest

from ferdata.errors import OptionError
from ferdata.setting import Setting, build, check_settings, either, options_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: Annotated[int, Setting("Make this size.", least=1, most=9000)] = 10
    secret: int = 3

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    kind: Annotated[str, Setting("Take this kind.", choices=("a", "b", "c"))] = "a"
    limit: Annotated[int | None, Setting("Take so many.", least=1)] = None

    def __post_init__(self) -> None:
        check_settings(self)


def test_options_are_listed_with_those_of_the_dataclasses_within() -> None:
    """What has no setting is for Python alone."""
    assert [(option.name, option.default) for option in options_of(Outer)] == [
        ("size", 10),
        ("kind", "a"),
        ("limit", None),
    ]


def test_values_reach_the_dataclass_that_has_the_option() -> None:
    """A command line is flat; a name that nobody has would otherwise be dropped without a word."""
    assert build(Outer, {"name": "n", "size": 20, "kind": "c"}) == Outer(name="n", inner=Inner(size=20), kind="c")
    assert build(Outer, {"name": "n", "inner": Inner(size=4)}).inner.size == 4
    for unknown in ("sise", "secret"):
        with pytest.raises(TypeError, match=unknown):
            build(Outer, {"name": "n", unknown: 1})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"size": 0}, "size: 0 found, expected 1 to 9,000"),
        ({"size": float("nan")}, "size: nan found"),
        ({"kind": "d"}, "kind: 'd' found, expected a, b or c"),
        ({"kind": None}, "kind: None found, expected a, b or c"),
        ({"limit": 0}, "limit: 0 found, expected at least 1"),
    ],
)
def test_a_value_outside_its_setting_is_refused_by_name(values: dict[str, object], text: str) -> None:
    """None is a value only where the type says so."""
    with pytest.raises(OptionError, match=text):
        build(Outer, {"name": "n", **values})


def test_a_choice_reads_as_a_sentence() -> None:
    assert (either(["a"]), either(["a", "b"]), either([8, 7, 6])) == ("a", "a or b", "8, 7 or 6")
