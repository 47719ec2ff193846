"""What a person reads: text as it is, whatever brackets are in it."""

from dataclasses import replace
from io import StringIO

import pytest
from make_dataset import make_dataset

from ferdata.console import screen
from ferdata.console.info import show_description
from ferdata.console.shard import show_ingest
from ferdata.dataset.info import DatasetDescription, describe
from ferdata.ingest import IngestSummary

ODD = "AffectNet [full] x[/b] :smile: [red]"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What was printed, on a terminal wide enough."""
    text = StringIO()
    monkeypatch.setattr(
        screen.console, "_file", text
    )  # what is behind the property: put back, it would hold this test's own output
    monkeypatch.setattr(screen.console, "_width", 300)
    return text


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> DatasetDescription:
    make_dataset(root := tmp_path_factory.mktemp("shards"), classes=(ODD, "b"), samples={"train": 4})
    return describe(str(root))


def test_brackets_in_paths_classes_and_notes_are_printed_as_they_are(
    printed: StringIO, description: DatasetDescription
) -> None:
    """rich takes [full] for a style and leaves it out, and [/b] for a mistake in the program."""
    show_description(replace(description, root=f"/data/{ODD}", source_layout=ODD, notes=[f"note {ODD}"]))
    summary = IngestSummary(
        out=f"/out/{ODD}", source="folder", layout=ODD, codec="zstd", rows=5, accepted=4, skipped={}, rejected={ODD: 1},
        repairs={}, class_counts={"train": {ODD: 4}}, bytes_in=0, bytes_out=0, num_shards=1, leaked_images=0,
        notes=(ODD,), label_map={ODD: ["0", "b", "c", "d", "e"], "b": ["1"]},
    )  # fmt: skip
    show_ingest(summary)
    show_ingest(replace(summary, is_new=False))
    with screen.ingest_bar(), screen.counting_bar(ODD):
        pass
    screen.pairs(ODD, {ODD: ODD})

    text = printed.getvalue()
    assert text.count(ODD) == 4 + 7 + 8 + 3
    assert f"0/b/c/d/... = {ODD}, 1 = b" in text
    assert "note: " in text


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (2.5, ", 2.50 times smaller than bare pixels"),
        (0.94, ", 1.06 times as large as bare pixels"),
        (0.0, "bytes an image "),
    ],
)
def test_info_says_smaller_where_it_is_smaller(
    printed: StringIO, description: DatasetDescription, ratio: float, words: str
) -> None:
    """0.94 times smaller would be larger."""
    show_description(replace(description, ratio=ratio))

    assert words in printed.getvalue()


def test_images_of_another_size_are_not_called_repaired(printed: StringIO) -> None:
    """They have a note of their own; nothing was done to them."""
    summary = IngestSummary(
        out="o", source="rafdb", layout="RAF-basic", codec="zstd", rows=4, accepted=4, skipped={}, rejected={},
        repairs={"unusual_size": 4, "grayscale": 2}, class_counts={"train": {"a": 4}}, bytes_in=0, bytes_out=0,
        num_shards=1, leaked_images=0,
    )  # fmt: skip
    show_ingest(summary)

    assert "unusual_size" not in printed.getvalue() and "grayscale 2" in printed.getvalue()
