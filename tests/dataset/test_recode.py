"""recode gives the same samples under another codec, and nothing that was not sound before."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ingest_sources import contents
from make_dataset import CODECS, SAMPLES, assert_expected, make_dataset, read_all

from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import IngestError, ShardCorruptError, ShardMissingError
from ferdata.format import read_index
from ferdata.store import Store


@pytest.mark.parametrize("after", CODECS)
@pytest.mark.parametrize("before", CODECS)
def test_a_recoded_set_is_sound_and_says_its_own_size(tmp_path: Path, before: str, after: str) -> None:
    """The index is the old one but for the shards; what it says of them must not be the old one's."""
    made = make_dataset(tmp_path / "a", codec=before, size=9)
    report = recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec=after, num_workers=1)

    index = read_index(Store(str(tmp_path / "b")))
    num_bytes = sum(path.stat().st_size for path in (tmp_path / "b").glob("*.tar*"))
    assert index.summary == {**made.summary, "bytes_out": num_bytes}
    assert (report.bytes_out, sum(info.num_bytes for info in index.shards)) == (num_bytes, num_bytes)
    assert (index.fingerprint, index.counts, index.files) == (made.fingerprint, made.counts, made.files)
    assert verify(str(tmp_path / "b"), deep=True, num_workers=1).ok
    assert_expected(read_all(tmp_path / "b"), num_samples=sum(SAMPLES.values()), size=9)


@pytest.mark.parametrize("name", ["rejects.csv", "samples.parquet"])
def test_a_damaged_or_missing_file_is_named_before_anything_is_written(tmp_path: Path, name: str) -> None:
    """A copy of a damaged file under a sound index is a damaged data set that nobody suspects."""
    make_dataset(tmp_path / "a")
    path = tmp_path / "a" / name
    sound = bytearray(path.read_bytes())
    sound[5] ^= 1
    path.write_bytes(sound)
    with pytest.raises(ShardCorruptError, match=f"^{path}: its XXH64 is not the one in index.json"):
        recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="raw")
    path.unlink()
    with pytest.raises(ShardMissingError, match=f"^{path}: no such file, expected it beside index.json"):
        recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="raw")

    assert not (tmp_path / "b").exists()


def test_a_flipped_bit_that_no_sample_shows_is_found(tmp_path: Path) -> None:
    """Padding means nothing, but a shard that is not the index's is not copied."""
    index = make_dataset(tmp_path / "a", codec="raw", size=9)
    path = tmp_path / "a" / index.shards[1].name
    data = bytearray(path.read_bytes())
    data[index.members.head_bytes + index.spec.num_bytes] ^= 1
    path.write_bytes(data)

    with pytest.raises(ShardCorruptError, match=f"^{path}: XXH64 .* found, expected"):
        recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="zstd", num_workers=1)
    assert not (tmp_path / "b" / "index.json").exists()


@pytest.mark.parametrize(
    "name", ["train-000000.tar", "val-000009.tar.zst", "samples.parquet", "rejects.csv", "index.json"]
)
def test_files_of_somebody_else_s_are_not_written_over(tmp_path: Path, name: str) -> None:
    """They may be the only copy; what has other names may stay beside the data set."""
    make_dataset(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / name).write_text("mine")
    (tmp_path / "b" / "notes.txt").write_text("mine too")
    before = contents(tmp_path / "b")

    with pytest.raises(IngestError, match="expected an empty folder"):
        recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="raw")
    assert contents(tmp_path / "b") == before

    (tmp_path / "b" / name).unlink()
    recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="raw")
    assert verify(str(tmp_path / "b")).ok and (tmp_path / "b" / "notes.txt").read_text() == "mine too"


def test_a_recode_that_fails_removes_what_it_wrote_and_nothing_else(tmp_path: Path) -> None:
    """Shards without an index would stand in the next one's way; a file that came meanwhile is not its own."""
    index = make_dataset(tmp_path / "a", codec="raw")
    path = tmp_path / "a" / index.shards[2].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    (tmp_path / "b").mkdir()

    def come(done: int, total: int) -> None:
        (tmp_path / "b" / "other-000000.tar").write_text("mine")

    with pytest.raises(ShardCorruptError, match=path.name):
        recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="zstd", num_workers=1, progress=come)
    assert contents(tmp_path / "b") == {"other-000000.tar": b"mine"}

    path.write_bytes(whole)
    (tmp_path / "b" / "other-000000.tar").unlink()
    assert recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="zstd").samples == index.num_samples()


def test_a_recode_that_was_killed_does_not_stand_in_the_next_one_s_way(tmp_path: Path) -> None:
    """Its shards have no index, yet they are known to be its own."""
    make_dataset(tmp_path / "a")
    code = (
        "import sys, time; from ferdata.dataset.recode import recode; "
        "recode(sys.argv[1], out=sys.argv[2], codec='raw', num_workers=1, progress=lambda *_: time.sleep(600))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a", tmp_path / "b"], cwd=Path(__file__).parents[2]
    )
    while not (tmp_path / "b" / "train-000000.tar").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()

    recode(str(tmp_path / "a"), out=str(tmp_path / "b"), codec="zstd")

    assert (
        verify(str(tmp_path / "b")).ok
        and not list((tmp_path / "b").glob("*.tar"))
        and not (tmp_path / "b" / ".parts").exists()
    )
