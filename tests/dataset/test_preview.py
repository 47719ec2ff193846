"""preview draws the faces that the shards hold, under the right names."""

from pathlib import Path

import numpy as np
import pytest
from make_dataset import CODECS, expected_label, expected_pixels, make_dataset
from PIL import Image

from ferdata.dataset.preview import preview
from ferdata.errors import OptionError, ShardMissingError


def read_sheet(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def has_picture(sheet: np.ndarray, picture: np.ndarray) -> list[int]:
    """Return the heights at which a picture of the sheet's own scale stands, found by its exact pixels."""
    rows, columns = np.nonzero((sheet == picture[0, 0]).all(axis=2))
    height, width = picture.shape[:2]
    return [
        int(y)
        for y, x in zip(rows, columns, strict=True)
        if np.array_equal(sheet[y : y + height, x : x + width], picture)
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_every_face_stands_once_in_the_row_of_its_class(tmp_path: Path, codec: str) -> None:
    """A sheet is looked at to find wrong labels; it must not make them."""
    make_dataset(tmp_path / "shards", codec=codec, size=120, samples={"train": 16, "val": 9}, samples_per_shard=5)
    assert preview(str(tmp_path / "shards"), str(tmp_path / "sheet.png"), split="val") == str(tmp_path / "sheet.png")

    sheet = read_sheet(tmp_path / "sheet.png")
    tops = []
    for number in range(16, 25):
        found = has_picture(sheet, expected_pixels(number, 120).transpose(1, 2, 0))
        assert len(found) == 1, number
        tops.append((expected_label(number), found[0]))
    rows = {label: {top for of, top in tops if of == label} for label, _ in tops}
    assert all(len(found) == 1 for found in rows.values())
    assert [label for label, _ in sorted(rows.items(), key=lambda row: min(row[1]))] == sorted(rows)


def test_the_seed_chooses_the_faces_and_nothing_else_does(tmp_path: Path) -> None:
    """The same command draws the same sheet; another seed shows other faces."""
    make_dataset(tmp_path / "shards", samples={"train": 200}, samples_per_shard=64)
    sheets = []
    for number, (seed, per_class) in enumerate([(0, 3), (0, 3), (1, 3), (0, 8)]):
        preview(str(tmp_path / "shards"), str(tmp_path / f"{number}.png"), per_class=per_class, seed=seed)
        sheets.append((tmp_path / f"{number}.png").read_bytes())

    assert sheets[0] == sheets[1]
    assert len(set(sheets)) == 3
    assert read_sheet(tmp_path / "3.png").shape[1] - read_sheet(tmp_path / "0.png").shape[1] > 300


def test_any_data_set_can_be_drawn(tmp_path: Path) -> None:
    """Empty classes, one class, hundreds of classes, long and foreign names, an empty split."""
    for number, (classes, samples) in enumerate(
        [
            (["only"], {"train": 3}),
            ([f"class {label}" for label in range(300)], {"train": 700}),
            (
                ["a very long name of a class that goes on and on and on, far beyond its column", "驚き", ""],
                {"train": 5},
            ),
            (["a", "b"], {"train": 0, "val": 2}),
        ]
    ):
        make_dataset(tmp_path / str(number), size=2, classes=classes, samples=samples, samples_per_shard=1_000)
        preview(str(tmp_path / str(number)), str(tmp_path / f"{number}.png"))
        height, width, _ = read_sheet(tmp_path / f"{number}.png").shape
        assert 100 < height < 6_000
        assert 300 < width < 3_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "split: 'test' found, expected one of train, val; choose another"),
        ({"per_class": 0}, "per_class: 0 found, expected 1 to 32"),
        ({"out": "sheet.jpg"}, "out: sheet.jpg found, expected the name of a .png file"),
    ],
)
def test_options_outside_what_is_allowed_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    """Before anything is drawn."""
    make_dataset(tmp_path)
    with pytest.raises(OptionError, match=message):
        preview(str(tmp_path), **{"out": str(tmp_path / "sheet.png")} | options)


def test_a_missing_data_set_is_said_and_a_url_is_written(tmp_path: Path) -> None:
    """``preview`` takes the same addresses as everything else."""
    with pytest.raises(ShardMissingError, match=r"no index\.json found"):
        preview(str(tmp_path), str(tmp_path / "sheet.png"))
    make_dataset(tmp_path)
    preview(str(tmp_path), f"local://{tmp_path}/new/sheet.PNG")
    assert read_sheet(tmp_path / "new" / "sheet.PNG").shape[2] == 3


def test_a_picture_of_somebody_else_s_is_not_replaced(tmp_path: Path) -> None:
    """A sheet is drawn anew as often as one likes; a photograph of the same name is gone for good."""
    make_dataset(tmp_path / "shards", samples={"train": 4})
    out = tmp_path / "sheet.png"
    Image.new("RGB", (9, 9)).save(out)
    before = out.read_bytes()
    with pytest.raises(
        OptionError,
        match=r"^out: .*sheet\.png found, which is no contact sheet of ferdata's, expected one or no such file; "
        "choose another",
    ):
        preview(str(tmp_path / "shards"), str(out))
    assert out.read_bytes() == before

    out.unlink()
    for seed in (0, 1):
        preview(str(tmp_path / "shards"), str(out), seed=seed)
