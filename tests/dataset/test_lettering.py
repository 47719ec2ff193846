"""Names in plots and sheets: in a font that has them, else as codes, and never so long or many that a picture fails."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from make_dataset import make_dataset

from ferdata.dataset.lettering import own_font, with_font
from ferdata.dataset.preview import preview
from ferdata.training.report.plots import draw_confusion

NAMES = [
    "$\\frac$",
    "calm_$5-$9",
    "开心",
    "😀",
    "سعيد",
    "a\nb",
    "x" * 4000,
    "\u202eevil",
    "100% <b>",
    "\\$",
    "é",
    "👩\u200d👧",
]


def test_a_sign_that_no_font_has_is_written_as_its_code() -> None:
    """A row of boxes names no class; a private sign is in no font."""
    text, font = with_font("a\U0010fff0b")

    assert (text, font) == ("a\\U0010fff0b", own_font())
    assert with_font("Glück, радость") == ("Glück, радость", own_font())
    assert with_font("x" * 50, most=10) == ("x" * 9 + "…", own_font())


@pytest.mark.parametrize(
    "names", [NAMES, ["one"], [f"class {number}" for number in range(300)]], ids=["odd", "one", "many"]
)
def test_a_confusion_matrix_can_be_drawn_with_any_names(names: list[str]) -> None:
    """It is drawn when all epochs are over."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw_confusion(np.eye(len(names), dtype=int).tolist(), names, title="val: $5")

    assert picture.startswith(b"\x89PNG")


def test_a_contact_sheet_can_be_drawn_with_any_names(tmp_path: Path) -> None:
    """Also where no font has them."""
    make_dataset(tmp_path / "set", classes=tuple(NAMES), samples={"train": 24})

    assert Path(preview(str(tmp_path / "set"), str(tmp_path / "sheet.png"))).exists()
