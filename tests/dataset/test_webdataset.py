"""compact shards in WebDataset pipelines: members say how to undo themselves; no index and no loader is needed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import webdataset
from make_dataset import expected_key, expected_label, expected_pixels, expected_record, make_dataset

import ferdata
from ferdata.dataset.export import export
from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.codecs.compact import PixelCoder
from ferdata.format.codecs.compact.member import member_header

pytestmark = pytest.mark.filterwarnings("ignore::Warning:webdataset", "ignore::ResourceWarning")


def member(pixels: np.ndarray) -> bytes:
    """Return an ``.fpx`` member of pixels."""
    return member_header(pixels.shape) + PixelCoder(pixels.shape).encode(pixels).tobytes()


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd program is not installed")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_pipeline_of_plain_tools_gives_every_sample(tmp_path: Path, num_workers: int) -> None:
    """zstd, tar and one function are all it takes; the index is not there."""
    index = make_dataset(tmp_path, codec="compact", size=9)
    (tmp_path / "index.json").unlink()
    urls = [f"pipe:zstd -dcq {tmp_path / info.name}" for info in index.shards if info.split == "train"]

    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode(ferdata.webdataset_decoder)
    found = list(webdataset.WebLoader(dataset, batch_size=None, num_workers=num_workers))

    assert [sample["__key__"] for sample in found] == [expected_key(number) for number in range(40)]
    for number, sample in enumerate(found):
        assert sample["cls"] == expected_label(number)
        assert sample["json"] == expected_record(number)
        assert np.asarray(sample["fpx"]).dtype == np.uint8
        np.testing.assert_array_equal(np.asarray(sample["fpx"]), expected_pixels(number, 9))


def test_a_member_in_any_memory_is_decoded() -> None:
    """WebDataset's sources differ in what they hand over."""
    pixels = expected_pixels(5, 7)
    for data in (member(pixels), bytearray(member(pixels)), memoryview(member(pixels))):
        np.testing.assert_array_equal(ferdata.webdataset_decoder(".fpx", data), pixels)


def test_other_members_are_left_to_other_decoders() -> None:
    """None means "not mine" in WebDataset."""
    for key in (".npy", ".cls", ".json", ".jpg", ".fpx.json", "fpxx"):
        assert ferdata.webdataset_decoder(key, b"1") is None
    assert ferdata.webdataset_decoder(".fpx", "text that another decoder made") is None
    assert ferdata.webdataset_decoder("left.fpx", member(expected_pixels(1, 4))).shape == (3, 4, 4)
    grey = expected_pixels(1, 4)[:1]
    assert np.array_equal(ferdata.webdataset_decoder("left.fpx", member(grey)), grey)


def test_damage_and_unknown_versions_are_errors() -> None:
    """A repacked tar has no frame checksums outside our reader; wrong pixels must still not come out."""
    data = member(expected_pixels(3, 16))
    with pytest.raises(ShardCorruptError, match=r"member: .* expected .*PIXELS"):
        ferdata.webdataset_decoder(".fpx", b"\x93NUMPY" + data[6:])
    with pytest.raises(ShardCorruptError, match=r"\.fpx: .*contradict themselves"):
        ferdata.webdataset_decoder(".fpx", data[:-1])
    with pytest.raises(OptionError, match="member: version 9 found, expected 2"):
        ferdata.webdataset_decoder(".fpx", data[:7] + b"\x09" + data[8:])


@pytest.mark.parametrize(
    "text",
    [
        b'{"shape":[3,99999,99999]}',
        b'{"shape":[3,1048576,104857600]}',
        b'{"shape":[1,1,99999999999999999999]}',
        b'{"shape":[1,26754,80000]}',
        b'{"shape":[1,1,1800]}',
        b'{"shape":[1,1]}',
        b'{"shape":[true,1,1]}',
        b"[" * 110,
        b'{"shape":' + b"9" * 100 + b"}",
        b"\xff\xfe",
        b"null",
        b"{}",
    ],
)
def test_a_header_that_lies_is_an_error_that_names_the_member_before_memory_is_asked_for(text: bytes) -> None:
    """A stream from the internet must not make a worker ask for terabytes."""
    header = (b"\x93PIXELS\x02" + text).ljust(127) + b"\n"
    for payload in (b"", b"12345678901234567"):
        with pytest.raises((ShardCorruptError, OptionError), match=r"^face-000007\.fpx: "):
            ferdata.webdataset_decoder("face-000007.fpx", header + payload)


def test_the_decoder_needs_no_torch() -> None:
    """It is imported in every worker of somebody else's pipeline."""
    code = "import sys, ferdata; ferdata.webdataset_decoder; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_export_turns_compact_into_plain_tars_with_the_same_bytes(tmp_path: Path) -> None:
    """The way back to a format of everybody's: not one byte of a tensor, label or record differs."""
    for codec in ("raw", "compact"):
        make_dataset(tmp_path / codec, codec=codec, size=13)
        export(str(tmp_path / codec), to="tar", out=str(tmp_path / f"{codec}-out"), num_workers=1)

    names = sorted(path.name for path in (tmp_path / "raw-out").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "compact-out").iterdir())
    for name in names:
        assert (tmp_path / "compact-out" / name).read_bytes() == (tmp_path / "raw-out" / name).read_bytes()
