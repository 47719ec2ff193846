"""Keys, whole numbers and names without regard to case."""

import pytest

from ferdata.sources.files import matching
from ferdata.sources.files.matching import KeyMaker, NameIndex, whole_number


def test_keys_are_unique_without_regard_to_case_and_fit_the_format() -> None:
    """Tar members and folders on any disk are named by them."""
    keys = KeyMaker()

    made = [keys.make(text) for text in ("a/b.c", "a_b_c", "A b c", "x" * 100, "x" * 100, "Ärger", "")]

    assert made[:3] == ["a_b_c", "a_b_c_2", "A_b_c_3"]
    assert made[3:5] == ["x" * 80, "x" * 78 + "_2"]
    assert made[5:] == ["_rger", "_"]
    assert len({key.lower() for key in made}) == len(made)


def test_keys_of_very_many_items_are_unique_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their hashes are put in order now and then: none may be lost by that, whether it was noted before or since."""
    monkeypatch.setattr(matching, "_RECENT_KEYS", 4)
    keys, texts = KeyMaker(), [f"face {number % 150}" for number in range(400)]

    made = [keys.make(text) for text in texts]

    assert made == [f"face_{number % 150}" + f"_{number // 150 + 1}" * (number >= 150) for number in range(400)]
    assert len(keys._older) > 300 > len(keys._recent)


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), (" 3.0 ", 3), ("03", 3), ("-1", -1), ("3.5", None), ("", None), ("1e2", None)]
)
def test_whole_numbers_are_whole(text: str, number: int | None) -> None:
    """``3.0`` is what a table program makes of 3."""
    assert whole_number(text) == number


def test_names_are_found_exactly_or_else_in_any_case() -> None:
    """One other spelling is a match, two are a question, the exact name is none."""
    index = NameIndex(["a.jpg", "B.JPG", "c.Jpg", "C.jpg", "c.JPG"])

    assert index.find("a.jpg") == ["a.jpg"]
    assert index.find("A.JPG") == ["a.jpg"]
    assert index.find("b.jpg") == ["B.JPG"]
    assert index.find("c.jpg") == ["C.jpg", "c.JPG", "c.Jpg"]
    assert index.find("c.JPG") == ["c.JPG"]
    assert index.find("d.jpg") == []


def test_names_are_found_exactly_or_else_by_their_stem() -> None:
    """Copies change extension and case; where case tells files apart, ``A.png`` and ``a.png`` are two images."""
    index = NameIndex(["A.png", "a.png", "b.PNG"], any_suffix=True)

    assert (index.find("a.png"), index.find("a.jpg")) == (["a.png"], ["A.png", "a.png"])
    assert index.alike("a.png") == ["A.png", "a.png"]
    assert index.find("B.jpg") == ["b.PNG"]
    assert index.find("c.png") == []
    assert index.rest(["a.png"]) == ["A.png", "b.PNG"]
