"""The table of layouts: what the rest must know of a release stands in that release's folder alone."""

import re

import pytest
from test_house import ROOT, modules

from ferdata.sources import LAYOUTS, SOURCES, Layout


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_a_layout_says_all_that_is_asked_of_it(layout: Layout) -> None:
    """A release under another name, or without an option that it declares, would be read as something else."""
    assert LAYOUTS[str(layout)] is layout
    assert layout.source in SOURCES
    assert layout.evidence == "names" or layout.sign
    assert all(
        sum(counts.values())
        for release in layout.releases
        for counts in release.splits.values()
        if not isinstance(counts, int)
    )


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in SOURCES])
def test_no_name_of_a_layout_stands_outside_its_folder(name: str) -> None:
    """Whoever adds a release, or corrects one, should have to look in one place."""
    quoted = re.compile(rf"[\"']{re.escape(name)}[\"']")
    holding = [path.relative_to(ROOT) for path in modules() if quoted.search(path.read_text())]

    assert [path.name for path in holding] == ["detector.py"]
