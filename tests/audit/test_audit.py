"""An audit finds what is planted in a data set, says it in figures, as a table and on one page, and changes nothing."""

import csv
import json
import re
import shutil
import signal
import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from make_dataset import make_dataset
from PIL import Image
from typer.testing import CliRunner

from ferdata.audit import Audit, AuditOptions, audit, render_audit
from ferdata.audit.network import FOLDS, deal_folds
from ferdata.console.app import app
from ferdata.errors import OptionError, ShardMissingError
from ferdata.format import write_index
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.ingest.split_options import SplitOptions
from ferdata.sample import TensorSpec
from ferdata.store import Store
from ferdata.synth import write_synthetic
from ferdata_bench.studies.audit_plants import Planted, PlantOptions, judge, plant, run_study

SIZE = 64


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    """A source tree and its shards, with one fault of every kind in it."""
    folder = tmp_path_factory.mktemp("audit")
    write_synthetic("affectnet", str(folder / "tree"), count=260, size=SIZE)
    images = sorted((folder / "tree/train_set/images").iterdir(), key=lambda path: int(path.stem))
    others = sorted((folder / "tree/val_set/images").iterdir(), key=lambda path: int(path.stem))
    planted = plant(folder / "tree", PlantOptions(copies=20, flipped=0.0))
    untouched = [path for path in images if path.name not in {Path(pair[1]).name for pair in planted.copies}]
    shutil.copy(untouched[0], others[0])
    untouched[1].write_bytes(untouched[1].read_bytes()[:1200])
    Image.new("RGB", (SIZE, SIZE), (3, 3, 3)).save(untouched[2])
    with Image.open(untouched[3]) as image:
        image.resize((8, 8)).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(untouched[3])
    options = IngestOptions(
        source="affectnet",
        src=str(folder / "tree"),
        out=str(folder / "shards"),
        transform=TransformOptions(size=SIZE),
        num_workers=1,
    )
    ingest(options)
    return folder, planted


@pytest.fixture(scope="module")
def found(place: tuple[Path, Planted]) -> Audit:
    folder, _ = place
    return audit(AuditOptions(shards=folder / "shards", src=str(folder / "tree"), steps=12, num_workers=1))


def findings_of(found: Audit) -> dict[str, list[str]]:
    """Return finding -> the paths it names."""
    paths = found.survey.table.column("path").to_pylist()
    return {finding.name: [paths[row.sample] for row in finding.rows] for finding in found.findings}


def test_planted_copies_are_found_and_nothing_else(found: Audit, place: tuple[Path, Planted]) -> None:
    """Cropped, scaled, compressed, mirrored and brighter ones, among faces that are alike as aligned faces are."""
    _, planted = place
    copies = judge(found, planted)["copies"]

    assert copies["by_kind"] == dict.fromkeys(("crop", "scale", "jpeg", "mirror", "brightness"), 4)
    across = [row for each in found.findings if each.name == "copy-across-splits" for row in each.rows]
    assert copies["false"] == 1  # the copy to the last bit below, which was not planted as a changed one
    assert [found.survey.row(row.sample)["split"] for row in across] == ["train"]
    assert [found.survey.row(row.other)["split"] for row in across] == ["val"]


def test_outliers_and_rejects_are_named(found: Audit, place: tuple[Path, Planted]) -> None:
    """A blank crop, a face out of a few pixels, a file that ends early: each has its own name."""
    named = findings_of(found)

    assert len(named["outlier-dark"]) == len(named["outlier-flat"]) == 1
    assert named["outlier-dark"] == named["outlier-flat"]
    assert len(named["outlier-blurred"]) == 1
    assert [reject.reason for reject in found.rejects] == ["image_corrupt"]


def test_the_table_names_samples_by_split_key_and_path(found: Audit) -> None:
    """``shard --exclude`` reads it."""
    rows = list(csv.DictReader(StringIO(found.to_csv())))
    keys = {f"{row['split']}/{row['key']}": row["path"] for row in found.survey.table.to_pylist()}

    assert len(rows) == sum(len(finding.rows) for finding in found.findings)
    assert list(rows[0]) == ["split", "key", "path", "finding", "other", "score"]
    for row in rows:
        assert keys[f"{row['split']}/{row['key']}"] == row["path"]
        assert row["other"] == "" or row["other"] in keys
        assert float(row["score"]) >= 0


def test_what_the_table_names_is_left_out_by_shard(found: Audit, place: tuple[Path, Planted], tmp_path: Path) -> None:
    """A second audit of the data set without it finds no copies any more."""
    folder, _ = place
    (tmp_path / "findings.csv").write_text(found.to_csv())
    named = {row.sample for finding in found.findings for row in finding.rows}
    images, splits = TransformOptions(size=SIZE), SplitOptions(exclude=str(tmp_path / "findings.csv"))
    summary = ingest(
        IngestOptions(
            source="affectnet", src=str(folder / "tree"), out=str(tmp_path / "set"), transform=images, splits=splits
        )
    )

    again = audit(AuditOptions(shards=tmp_path / "set", labels=False, num_workers=1))

    assert summary.accepted == len(found.survey) - len(named)
    assert not [finding.name for finding in again.findings if finding.section == "Copies" and finding.rows]


def test_the_figures_are_those_of_the_data_set(found: Audit) -> None:
    """Everything that the page shows in numbers is there for a program."""
    figures = json.loads(json.dumps(found.to_json()))

    assert sum(figures["samples"].values()) == len(found.survey) == 279
    assert figures["findings"]["near-copy"]["rows"] == 20
    assert figures["rejected"] == {"image_corrupt": 1}
    whole = [total for total in figures["totals"] if not total["name"]]
    assert {total["split"]: total["known"] for total in whole} == {"train": 287_651, "val": 3_999}
    assert {total["split"]: total["here"] for total in whole} == figures["samples"]
    assert 0 <= figures["shares"]["train"]["grey"] < 0.3


def test_the_page_holds_all_it_shows_and_asks_nobody(found: Audit) -> None:
    """It is sent by mail and opened years later; names that a data set brings must not become markup."""
    page = render_audit(found)

    assert not re.findall(
        r"""(?:src|href)=["'](?!data:)|url\(|@import|<script|<link(?! rel="icon" href="data:)""", page
    )
    assert page.count("data:image/jpeg") > 100
    assert "Nearly the same picture in one split, under one label" in page
    assert "image_corrupt" in page
    assert "nothing to see" not in page  # the upper part of the file that ends early
    about = replace(found.about, classes=["<b>x", *found.about.classes[1:]])
    assert "<b>x" not in render_audit(replace(found, about=about))


def test_copies_are_judged_by_a_network_that_saw_neither(found: Audit) -> None:
    """A wrong label that is copied to the training side would be learnt by heart, and look right."""
    folds = deal_folds(found.survey.groups, seed=3)
    pairs = [(row.sample, row.other) for each in found.findings for row in each.rows if row.other is not None]

    assert len(pairs) > 20
    assert all(folds[one] == folds[other] for one, other in pairs)
    assert set(folds) == set(range(FOLDS))


def test_wrong_labels_are_listed_first(tmp_path: Path) -> None:
    """Classes that a network learns in seconds; 5 % of the labels are of another one."""
    draw = np.random.default_rng(0)
    colours = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
    wrong = set()
    for number in range(180):
        truth = label = list(colours)[number % 3]
        if number % 20 == 7:
            label = list(colours)[(number + 1) % 3]
            wrong.add(f"{number:03}.png")
        pixels = np.clip(draw.normal(colours[truth], 50, (24, 24, 3)), 0, 255).astype(np.uint8)
        (tmp_path / "tree" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "tree" / label / f"{number:03}.png")
    images = TransformOptions(size=24)
    ingest(IngestOptions(source="folder", src=str(tmp_path / "tree"), out=str(tmp_path / "set"), transform=images))

    found = audit(AuditOptions(shards=tmp_path / "set", near=False, steps=25, num_workers=2))

    listed = findings_of(found)["suspicious-label"]
    assert {Path(path).name for path in listed[: len(wrong)]} == wrong
    assert len(listed) <= 18


def test_an_interrupt_ends_the_training_at_once(place: tuple[Path, Planted]) -> None:
    """Threads cannot be killed; whoever stops an audit must not wait for hours of steps."""
    folder, _ = place
    told = threading.Event()

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "training small networks" and not told.is_set():
            told.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        audit(AuditOptions(shards=folder / "shards", near=False, steps=10**6, num_workers=2), say=interrupt)

    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name and not _ends(thread)]


def _ends(thread: threading.Thread) -> bool:
    thread.join(20)
    return not thread.is_alive()


def test_the_command_writes_page_table_and_figures(place: tuple[Path, Planted], tmp_path: Path) -> None:
    """One line per kind of finding on the screen, everything else in files."""
    folder, _ = place
    names = {option: tmp_path / f"a.{option}" for option in ("html", "csv", "json")}
    written = [word for option, path in names.items() for word in (f"--{option.replace('html', 'out')}", str(path))]
    done = CliRunner().invoke(app, ["audit", str(folder / "shards"), "--no-labels", "--no-near", *written])

    assert done.exit_code == 0, done.output
    assert re.search(r"The same picture across splits +1\b", done.output)
    assert "copy-across-splits" in names["csv"].read_text()
    assert json.loads(names["json"].read_text())["findings"]["copy-across-splits"]["rows"] == 1
    assert "With <code>--src</code>" in names["html"].read_text()


def test_what_cannot_be_audited_is_said(tmp_path: Path) -> None:
    """Before any work: what is missing, empty, or no pictures."""
    with pytest.raises(ShardMissingError, match=r"no index\.json found"):
        audit(AuditOptions(shards=tmp_path / "none"))
    index = make_dataset(tmp_path / "empty", samples={})
    with pytest.raises(OptionError, match=r"empty: no samples found, expected some to look at; shard a source"):
        audit(AuditOptions(shards=tmp_path / "empty"))
    spec = TensorSpec(dtype="uint8", shape=(7, 4, 4))
    write_index(Store(str(tmp_path / "empty")), replace(index, spec=spec, mean=(0.0,) * 7, std=(1.0,) * 7))
    with pytest.raises(OptionError, match=r"tensors of \[7, 4, 4\] found, expected \[3, H, W\] or \[1, H, W\]"):
        audit(AuditOptions(shards=tmp_path / "empty"))


@pytest.mark.slow
def test_the_figures_of_the_page_hold(tmp_path: Path) -> None:
    """What docs/audit.md promises of planted copies and of wrong labels."""
    _, record = run_study(PlantOptions(images=2000), tmp_path, say=lambda text: None)

    assert record["copies"]["found"] >= 0.95 * record["copies"]["planted"]
    assert record["copies"]["false"] <= 20
    assert record["labels"]["found"] >= 0.6 * record["labels"]["changed"]


@pytest.mark.slow
def test_on_ray_an_audit_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards are measured by other processes, in folders of their own; the figures and findings are in order."""
    pytest.importorskip("ray")
    make_dataset(tmp_path / "shards", size=40, samples={"train": 60, "val": 20, "test": 10})
    monkeypatch.chdir(tmp_path)
    options = AuditOptions(shards="shards", labels=False, num_workers=2)
    told: list[tuple[int, int]] = []

    here = audit(options)
    there = audit(
        replace(options, engine="ray"),
        say=lambda what, done, total: told.append((done, total)) if what == "measuring images" else None,
    )

    assert (there.to_json(), there.to_csv()) == (here.to_json(), here.to_csv())
    assert (there.survey.hashes == here.survey.hashes).all() and told[-1] == (90, 90)
