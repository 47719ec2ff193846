"""The write half on object stores: the same bytes as on a disk, through kills, with the index last.

Always against a stand-in (``objects://``), and against a real S3 server where moto and s3fs are installed:
``pip install -e '.[s3-test]'``.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import objects  # noqa: F401 - registers objects://
import pytest
from ingest_sources import SMALL_SHARD_BYTES, contents, options, write_affectnet

from ferdata.dataset.export import export
from ferdata.dataset.verify import verify
from ferdata.errors import IngestError, StoreError
from ferdata.format import read_index
from ferdata.ingest import ingest
from ferdata.ingest.select import selection
from ferdata.ingest.write import shards
from ferdata.ingest.write.parts import PARTS_FOLDER
from ferdata.store import Store
from ferdata.synth import write_synthetic
from ferdata_bench.network.s3 import S3Server, environment

HAS_S3 = S3Server.is_installed()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of an S3 server in a process of its own."""
    with S3Server() as server:
        yield server.url


@pytest.fixture(
    params=["objects", pytest.param("s3", marks=pytest.mark.skipif(not HAS_S3, reason="needs s3fs and moto"))]
)
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket."""
    monkeypatch.setattr(selection, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)
    if request.param == "objects":
        return f"objects://{tmp_path}/bucket"
    for name, value in environment(request.getfixturevalue("s3_server")).items():
        monkeypatch.setenv(name, value)
    url = f"s3://bucket-{os.getpid()}-{abs(hash(request.node.name)) % 10**8}"
    Store(url).make_dir()
    return url


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_affectnet(tmp_path_factory.mktemp("source") / "affectnet")


def downloaded(url: str) -> dict[str, bytes]:
    """Name -> bytes of everything right below a URL."""
    store = Store(url)
    return {entry.name: b"" if entry.is_dir else store.read(entry.name) for entry in store.list()}


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_a_data_set_in_an_object_store_has_the_bytes_of_one_on_a_disk(
    affectnet: Path, tmp_path: Path, bucket: str
) -> None:
    """A store is a place, not another data set; nothing of the run is left there."""
    ingest(options(affectnet, tmp_path / "here"))
    there = ingest(options(affectnet, f"{bucket}/there", num_workers=2))

    assert there.is_new and downloaded(f"{bucket}/there") == contents(tmp_path / "here")
    assert not ingest(options(affectnet, f"{bucket}/there")).is_new
    assert verify(f"{bucket}/there", num_workers=2).ok
    assert ingest(options(affectnet, f"{bucket}/there", codec="raw", resume=False)).num_shards == there.num_shards
    assert {name for name in downloaded(f"{bucket}/there") if ".tar" in name} == {
        info.name for info in read_index(Store(f"{bucket}/there")).shards
    }


def test_a_run_to_an_object_store_goes_on_where_it_stopped(
    affectnet: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no rename: a shard is there once its upload is whole, and counts once recorded; the index comes last."""
    ingest(options(affectnet, tmp_path / "here"))
    out, commit, done = f"{bucket}/there", shards.commit_part, []

    def stop_after_two(store: Store, part: object) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part)
        commit(store, part)

    with (
        monkeypatch.context() as patch,
        pytest.raises(IngestError, match="stopped by Ctrl-C; finished shards are kept"),
    ):
        patch.setattr(shards, "commit_part", stop_after_two)
        ingest(options(affectnet, out))
    records = [entry.name for entry in Store(out).list(PARTS_FOLDER) if ".tar" in entry.name]
    assert not Store(out).exists("index.json") and len(records) == 2

    summary = ingest(options(affectnet, out, num_workers=2))

    assert summary.resumed_shards == 2 and summary.num_shards > 3
    assert downloaded(out) == contents(tmp_path / "here")


def test_images_are_drawn_to_and_read_from_an_object_store(tmp_path: Path, bucket: str) -> None:
    """From synth to shards to an export; the codec jpeg looks at the images before workers are forked."""
    drawn = write_synthetic("rafdb", f"{bucket}/source", count=24, size=32, num_workers=2)
    write_synthetic("rafdb", str(tmp_path / "source"), count=24, size=32)
    wanted = options(f"{bucket}/source", f"{bucket}/shards", source="rafdb", size=32, codec="jpeg", num_workers=2)
    here = options(tmp_path / "source", tmp_path / "shards", source="rafdb", size=32, codec="jpeg")

    assert ingest(wanted).accepted == ingest(here).accepted == drawn.images == 24
    assert downloaded(f"{bucket}/shards") == contents(tmp_path / "shards")
    export(f"{bucket}/shards", to="tar", out=f"{bucket}/tars")
    assert {"classes.txt", "train-000000.tar"} <= set(downloaded(f"{bucket}/tars"))


def test_ray_s_workers_read_and_write_an_object_store(tmp_path: Path, bucket: str) -> None:
    """Nodes of a cluster share nothing but the store."""
    pytest.importorskip("ray")
    if bucket.startswith("objects"):
        pytest.skip("a stand-in of these tests, which Ray's processes do not know")
    for source in (f"{bucket}/source", str(tmp_path / "source")):
        write_synthetic("rafdb", source, count=24, size=32)
    wanted = options(f"{bucket}/source", f"{bucket}/there", source="rafdb", size=32, num_workers=2, engine="ray")
    ingest(wanted)
    ingest(options(tmp_path / "source", tmp_path / "here", source="rafdb", size=32))

    assert downloaded(f"{bucket}/there") == contents(tmp_path / "here")


@pytest.mark.skipif(not HAS_S3, reason="needs s3fs and moto")
def test_no_credentials_are_one_line(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first thing that goes wrong with S3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match=r"^s3://nowhere/x: .*[Cc]redentials"):
        Store("s3://nowhere/x").make_dir()
    s3fs.S3FileSystem.clear_instance_cache()
