"""docs/sources.md and the code: the same orders, words, reasons, rules and sources on both sides."""

import ast
import re
from pathlib import Path

import pytest

from ferdata import labels
from ferdata.sources.layout import SOURCES
from ferdata.sources.layouts import LAYOUTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sources.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str, head: str) -> list[str]:
    """Return the first cell of every row of the table that begins with a head."""
    table = text[text.index(f"| {head} |") :].split("\n\n")[0]
    return [row.split("|")[1].strip().strip("`") for row in table.splitlines()[2:]]


def texts_in(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def words_of_code() -> tuple[set[str], set[str]]:
    """Return the reasons and the rules that the write half has, from its syntax trees."""
    reasons, rules = set[str](), set[str]()
    for path in (path for top in ("sources", "ingest", "images") for path in (ROOT / "ferdata" / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="rejected"), args=[reason, *_]):
                    reasons |= texts_in(reason)
                case ast.Call(func=ast.Attribute(attr="reject"), args=[_, reason, *_]):
                    reasons |= texts_in(reason)
                case ast.Call(func=ast.Name(id="Verdict"), args=[ast.Constant(value="skipped"), rule, *_]):
                    rules |= texts_in(rule)
                case ast.Assign(targets=[ast.Name(id="reason")], value=ast.Constant(value=str(reason))):
                    reasons.add(reason)
                case ast.AugAssign(
                    target=ast.Subscript(value=ast.Attribute(attr="skipped"), slice=ast.Constant(value=rule))
                ):
                    rules.add(str(rule))
                case ast.Call(func=ast.Attribute(attr="skip"), args=[ast.Constant(value=str(rule)), _]):
                    rules.add(rule)
    return reasons, rules


def test_every_reason_and_every_rule_is_on_the_page_and_every_one_on_it_is_in_the_code() -> None:
    """Whoever opens rejects.csv looks a word up, and finds what to do."""
    reasons, rules = words_of_code()
    rows = section("What becomes of a row")
    assert len(reasons) >= 14 and len(rules) >= 4
    assert first_cells(rows, "reason") == sorted(reasons)
    assert first_cells(rows, "rule") == sorted(rules)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("AffectNet", labels.AFFECTNET_ALL),
        ("RAF-DB", labels.RAFDB_BASIC),
        ("RAF-DB compound", labels.RAFDB_COMPOUND),
        ("FER2013, ExpW", labels.FER2013),
        ("FERPlus (columns of votes)", labels.FERPLUS),
        ("CK+", labels.CKPLUS),
        ("Aff-Wild2 (expressions)", labels.AFFWILD2),
        ("DFEW", labels.DFEW),
        ("alphabetical, 8 or 7", labels.ALPHABETICAL_8),
    ],
)
def test_the_orders_on_the_page_are_those_of_the_code(order: str, names: tuple[str, ...]) -> None:
    """A wrong order on paper becomes one in somebody's training."""
    row = next(row for row in section("One order").splitlines() if row.startswith(f"| {order} |"))
    first, *others = row.split("|")[2].split(";")[0].strip().split(", ")
    assert (first.split(" ", 1)[1], *others) == names


def test_the_letters_and_words_on_the_page_are_those_of_the_code() -> None:
    """JAFFE and KDEF differ in one code; the words are all that a class folder may be called."""
    text = " ".join(section("One order").split())
    row = re.search(r"\| JAFFE, KDEF \(letters\) \| (.*?) \|", text)
    assert row
    found = {code: cell.split()[-1] for cell in row[1].split(", ") for code in re.findall(r"\b[A-Z]{2}\b", cell)}
    assert found == labels.JAFFE | labels.KDEF
    words = text.split("Known words: ")[1].split(". Of a data set")[0]
    listed = {name: group.split(": ")[1].split(", ") for group in words.split(". ") for name in [group.split(": ")[0]]}
    assert ", ".join(word for group in listed.values() for word in group) == labels.KNOWN_NAMES
    assert all(labels.canonical_name(word) == name for name, group in listed.items() for word in group)
    skipped = text.split("**No expression**: ")[1].split(" are skipped")[0]
    assert re.sub(r" \(.*?\)", "", skipped).replace(" and ", ", ").split(", ") == list(labels.NON_EMOTIONS)


def test_every_source_and_every_layout_is_on_the_page() -> None:
    """A new one is not there until somebody can read of it."""
    assert set(SOURCES) == set(first_cells(PAGE, "source"))
    missing = [name for name in LAYOUTS if f"`{name}`" not in PAGE]
    assert not missing, "name them in the section of their source, in backticks"
