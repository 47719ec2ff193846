"""Where a data set goes: never among the images, and never over files that ferdata did not write."""

import shutil
from pathlib import Path

import objects  # noqa: F401 - registers objects://
import pytest
from ingest_sources import contents, options, samples, write_affectnet

from ferdata.dataset.info import describe
from ferdata.errors import IngestError, OptionError, ShardMissingError
from ferdata.ingest import ingest
from ferdata.ingest.finish import publish
from ferdata.ingest.target import clear, without_root
from ferdata.store import Store


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_affectnet(tmp_path_factory.mktemp("source") / "affectnet", train=16, val=8)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "out", ["{}", "{}/", "{}/train_set/images", "{}/new/shards", "file://{}/new", "{}/../{name}", "{}-link/new"]
)
def test_a_data_set_does_not_go_among_its_images(affectnet: Path, out: str, fresh: bool) -> None:
    """Shards would be part of the source at the next run, and --fresh would remove files from it."""
    link = affectnet.with_name(f"{affectnet.name}-link")
    if not link.exists():
        link.symlink_to(affectnet)
    before = sorted(affectnet.rglob("*"))

    with pytest.raises(
        OptionError, match=r"^out: .* found, (the folder|a folder in that) of the images \(.*\), expected one apart"
    ):
        ingest(options(affectnet, out.format(affectnet, name=affectnet.name), resume=not fresh))

    assert sorted(affectnet.rglob("*")) == before


def test_places_beside_each_other_and_images_below_the_data_set_are_fine(affectnet: Path, tmp_path: Path) -> None:
    """A name that begins alike is another folder; and nothing that lies beside the shards is ever removed."""
    (tmp_path / "set").mkdir()
    inside = write_affectnet(tmp_path / "set/images", train=16, val=8)
    for _ in range(2):
        ingest(options(inside, tmp_path / "set", resume=False))
    ingest(options(inside, tmp_path / "set/images-shards"))

    assert len(list(inside.rglob("*.jpg"))) == 24 and len(samples(tmp_path / "set")) == 24


@pytest.mark.parametrize(
    "name", ["train-000007.tar", "train-000007.tar.zst", "index.json", "samples.parquet", "rejects.csv"]
)
@pytest.mark.parametrize("fresh", [False, True])
def test_files_that_ferdata_did_not_write_are_neither_removed_nor_replaced(
    affectnet: Path, tmp_path: Path, name: str, fresh: bool
) -> None:
    """WebDataset's shards are called like ours; a folder of them is somebody's data set."""
    (tmp_path / name).write_text('{"version": 1}')
    (tmp_path / "train.txt").write_text("mine")
    before = contents(tmp_path)

    with pytest.raises(Exception, match=f"{name}.*ferdata") as caught:
        ingest(options(affectnet, tmp_path, resume=not fresh))

    assert isinstance(caught.value, IngestError) or not fresh
    assert contents(tmp_path) == before


def test_a_foreign_shard_beside_ours_stops_fresh_before_anything_is_removed(affectnet: Path, tmp_path: Path) -> None:
    """Half removed would be the worst of both."""
    ingest(options(affectnet, tmp_path))
    (tmp_path / "other-000000.tar").write_bytes(b"precious")
    before = contents(tmp_path)

    with pytest.raises(
        IngestError, match=r"1 file such as other-000000\.tar found that no run of ferdata is known to have written"
    ):
        ingest(options(affectnet, tmp_path, resume=False, seed=3))

    assert contents(tmp_path) == before


def test_fresh_that_is_killed_while_it_clears_goes_on_clearing(
    affectnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its index, what is left would look like somebody else's."""
    ingest(options(affectnet, tmp_path))
    remove = Store.remove

    def stop_after_the_index(store: Store, relative: str) -> None:
        remove(store, relative)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "remove", stop_after_the_index)
        clear(Store(tmp_path))
    assert not (tmp_path / "index.json").exists() and list(tmp_path.glob("*.tar.zst"))

    assert ingest(options(affectnet, tmp_path, codec="raw")).is_new
    assert not list(tmp_path.glob("*.tar.zst"))


def test_a_damaged_index_of_ours_can_be_replaced(affectnet: Path, tmp_path: Path) -> None:
    """--fresh is what one does about it."""
    ingest(options(affectnet, tmp_path))
    whole = (tmp_path / "index.json").read_bytes()
    (tmp_path / "index.json").write_bytes(whole[: len(whole) // 2])

    assert ingest(options(affectnet, tmp_path, resume=False)).is_new
    assert (tmp_path / "index.json").read_bytes() == whole


def test_a_data_set_whose_index_is_lost_is_finished_again_by_the_same_command(affectnet: Path, tmp_path: Path) -> None:
    """As the error about the lost index says; the shards must come out the same, or nothing is touched."""
    ingest(options(affectnet, tmp_path))
    whole = contents(tmp_path)
    (tmp_path / "index.json").unlink()
    lost = contents(tmp_path)

    with pytest.raises(ShardMissingError, match=r"no index\.json found, .*; run 'shard' \(it resumes\)"):
        describe(str(tmp_path))
    with pytest.warns(UserWarning, match=r"index\.json is lost; the shards are made again and must come out the same"):
        assert ingest(options(affectnet, tmp_path)).is_new
    assert contents(tmp_path) == whole

    (tmp_path / "index.json").unlink()
    for change in ({"size": 32}, {"seed": 1}, {"codec": "raw"}):
        with (
            pytest.warns(UserWarning, match="is lost"),
            pytest.raises(
                IngestError,
                match=r"000000.*whose index\.json is lost, expected the very shard .* with resume=False, or choose",
            ),
        ):
            ingest(options(affectnet, tmp_path, **change))
        assert contents(tmp_path) == lost
    assert ingest(options(affectnet, tmp_path, size=32, resume=False)).is_new


def test_in_an_object_store_a_data_set_whose_index_is_lost_is_replaced_by_fresh_alone(
    affectnet: Path, tmp_path: Path
) -> None:
    """An upload replaces at once, so nothing could be compared before."""
    out = f"objects://{tmp_path}/out"
    ingest(options(affectnet, out))
    Store(out).remove("index.json")

    with pytest.raises(IngestError, match=r"whose index\.json is lost, .* with resume=False, or choose another out="):
        ingest(options(affectnet, out))
    assert ingest(options(affectnet, out, resume=False)).is_new


@pytest.mark.parametrize("fresh", [False, True])
def test_folders_that_are_called_like_our_files_are_somebody_s(affectnet: Path, tmp_path: Path, fresh: bool) -> None:
    """Removing or replacing one would remove all it holds; a link to one is followed by neither."""
    for number, name in enumerate(
        [".parts", "train-000000.tar", "index.json", "samples.parquet", "link/.parts", "other/train-000000.tar"]
    ):
        out = tmp_path / str(number)
        place = out / name.rpartition("/")[2]
        (tmp_path / "elsewhere" / str(number)).mkdir(parents=True)
        (tmp_path / "elsewhere" / str(number) / "thesis.tex").write_text("mine")
        out.mkdir()
        if "/" in name:
            place.symlink_to(tmp_path / "elsewhere" / str(number))
        else:
            shutil.copytree(tmp_path / "elsewhere" / str(number), place)

        with pytest.raises(
            IngestError, match=f"such as {place.name} found that no run of ferdata is known to have written"
        ):
            ingest(options(affectnet, out, resume=not fresh))

        assert (place / "thesis.tex").read_text() == "mine" and [path.name for path in out.iterdir()] == [place.name]


def test_a_foreign_shard_beside_an_unfinished_run_is_not_removed_by_fresh(affectnet: Path, tmp_path: Path) -> None:
    """It was not there when the run began, so it is not the run's."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(IngestError, match="stopped by Ctrl-C"):
        patch.setattr(publish, "write_index", stop)
        ingest(options(affectnet, tmp_path))
    (tmp_path / "other-000000.tar").write_bytes(b"precious")

    with pytest.raises(IngestError, match=r"such as other-000000\.tar found"):
        ingest(options(affectnet, tmp_path, resume=False))
    assert (tmp_path / "other-000000.tar").read_bytes() == b"precious"
    assert ingest(options(affectnet, tmp_path)).is_new


def stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["{tmp}/affectnet", "{tmp}/affectnet/", ".", "/", "affectnet"])
def test_notes_in_the_index_do_not_name_the_place_of_the_source(place: str, tmp_path: Path) -> None:
    """The same tree elsewhere gives the same files; and SRC, which stood there, told a reader nothing."""
    root = place.format(tmp=tmp_path)
    notes = [
        f"AN-npy found in {root}.",
        f"{root.rstrip('/')}/train_set/x.jpg is unread; see 1.5 files.",
        "nothing. at all; here/there",
    ]

    assert [without_root(note, root) for note in notes] == [
        "AN-npy found in the source folder.",
        "train_set/x.jpg is unread; see 1.5 files.",
        "nothing. at all; here/there",
    ]


def test_other_settings_are_told_in_words(affectnet: Path, tmp_path: Path) -> None:
    """As the options that were typed; a hash would tell nobody what to type."""
    ingest(options(affectnet, tmp_path))

    with pytest.raises(IngestError, match=r"found: codec=zstd \(now raw\); expected"):
        ingest(options(affectnet, tmp_path, codec="raw"))
    with pytest.raises(
        IngestError,
        match=r"found: size=24 \(now 32\), limit=none \(now 10\), drop_leaks=no \(now yes\); expected",
    ):
        ingest(options(affectnet, tmp_path, size=32, limit=10, drop_leaks=True))
