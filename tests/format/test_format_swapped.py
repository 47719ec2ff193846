"""Sound shards in the wrong place: swapped, of another data set or run. Raw shards are of one size; the index tells."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash
from make_dataset import CODECS, make_dataset, read_all

import ferdata
from ferdata.dataset.export import export
from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import ShardCorruptError
from ferdata.format import ShardInfo, ShardReader, ShardWriter, make_codec, read_index
from ferdata.store import Store

EQUAL = {"samples": {"train": 6, "val": 3}, "samples_per_shard": 3, "size": 8}


def swap(root: Path) -> str:
    """Exchange the first shards of two splits; return the name of the first."""
    suffix = "tar" if (root / "val-000000.tar").exists() else "tar.zst"
    names = [f"train-000000.{suffix}", f"val-000000.{suffix}"]
    (root / names[0]).rename(root / "aside")
    (root / names[1]).rename(root / names[0])
    (root / "aside").rename(root / names[1])
    return names[0]


READERS: list[Callable[[str], object]] = [
    read_all,
    lambda root: [batch for batch in ferdata.Loader(root, split="train", batch_size=2, num_workers=0, verify="first")],
    lambda root: ferdata.ShardDataset(root, split="train")[0],
    lambda root: recode(root, out=f"{root}-recoded", codec="zstd", num_workers=1),
    lambda root: export(root, to="folder", out=f"{root}-exported", num_workers=1),
]


@pytest.mark.parametrize("read", READERS, ids=["reader", "Loader", "ShardDataset", "recode", "export"])
@pytest.mark.parametrize("codec", CODECS)
def test_shards_that_changed_places_are_found_by_whatever_reads_them(
    tmp_path: Path, codec: str, read: Callable[[str], object]
) -> None:
    """Labels come from the sample table: every image of the wrong shard would train under another's label."""
    make_dataset(tmp_path / "set", codec=codec, **EQUAL)
    name = swap(tmp_path / "set")

    with pytest.raises(ShardCorruptError, match=str(tmp_path / "set" / name)):
        read(str(tmp_path / "set"))
    assert not (tmp_path / "set-recoded" / "index.json").exists()
    assert not verify(str(tmp_path / "set"), num_workers=1).ok


def test_a_raw_shard_of_another_data_set_is_found_although_its_size_its_hashes_and_its_table_are_sound(
    tmp_path: Path,
) -> None:
    """All raw shards of so many samples are of one size: a folder copied over another mixes them unseen."""
    for folder, names in (("a", {"train": 3}), ("b", {"val": 1, "train": 3})):
        make_dataset(tmp_path / folder, codec="raw", samples=names, size=8)
    name = "train-000000.tar"
    assert (tmp_path / "a" / name).stat().st_size == (tmp_path / "b" / name).stat().st_size
    shutil.copyfile(tmp_path / "b" / name, tmp_path / "a" / name)

    with pytest.raises(
        ShardCorruptError, match=f"a/{name}: its table is not the one that index.json knows, so this is another shard"
    ):
        read_all(tmp_path / "a")


@pytest.mark.parametrize("codec", ["zstd", "compact"])
def test_a_compressed_shard_with_the_same_seek_table_is_told_by_the_checksum_of_its_last_body(
    tmp_path: Path, codec: str
) -> None:
    """A seek table holds sizes alone, and small or noisy pictures often have the same."""
    index = make_dataset(tmp_path, codec=codec, samples={"train": 2}, samples_per_shard=2, size=2)
    [info] = index.shards
    sound = (tmp_path / info.name).read_bytes()
    samples = read_all(tmp_path)
    samples[-1].pixels[0, 0, 0] ^= 1
    with (tmp_path / info.name).open("wb") as file:
        writer = ShardWriter(file, index.members, index.codec)
        for sample in samples:
            writer.add(sample.key, sample.label, sample.record, sample.pixels)
        writer.close()
    forged = (tmp_path / info.name).read_bytes()
    table_bytes = 17 + 8 * 5
    assert forged != sound and forged[-table_bytes:] == sound[-table_bytes:]

    with pytest.raises(ShardCorruptError, match=f"{info.name}: its table is not the one that index.json knows"):
        read_all(tmp_path)


@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_the_tail_of_an_empty_shard_has_a_hash_too(tmp_path: Path, codec: str) -> None:
    """A split may have a shard without samples."""
    options = make_codec(codec)
    index = make_dataset(tmp_path, codec=codec, samples={"train": 1})
    name = index.shards[0].name
    with (tmp_path / name).open("wb") as file:
        info = ShardInfo.of(ShardWriter(file, index.members, options).close(), name=name, split="train")

    assert info.tail_xxh64 == xxhash.xxh64_hexdigest((tmp_path / name).read_bytes())
    with ShardReader(Store(str(tmp_path)), info, read_index(Store(str(tmp_path)))) as reader:
        assert len(reader) == 0
