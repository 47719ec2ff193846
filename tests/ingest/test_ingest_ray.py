"""Ingest on Ray: the same files as the local pool's, byte for byte, and errors that come home as they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ferdata.console.app import app
from ferdata.errors import OptionError
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, IngestProgress, ingest
from ferdata.ingest.select import selection
from ferdata.synth import write_synthetic


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_synthetic("rafdb", str(tmp_path / "source"), count=60, size=32)
    (next((tmp_path / "source").rglob("*_aligned.jpg"))).write_bytes(b"no image")
    return tmp_path / "source"


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_ray_writes_the_very_files_of_the_local_pool(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster is a way to be faster, not another data set."""
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    local = ingest(
        IngestOptions(source="rafdb", src="source", out="local", transform=TransformOptions(size=32), num_workers=2)
    )
    on_ray = ingest(
        IngestOptions(
            source="rafdb", src="source", out="on-ray", transform=TransformOptions(size=32), num_workers=2, engine="ray"
        )
    )

    assert (on_ray.samples, on_ray.rejected) == (local.samples, local.rejected)
    assert sum(local.rejected.values()) == 1
    assert files(tmp_path / "on-ray") == files(tmp_path / "local")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one node with one core, to which this process is connected; others may come and go."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_a_node_that_is_lost_costs_no_byte(tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle: its shards are written elsewhere, which is said, and no image is counted twice."""
    write_synthetic("rafdb", str(tmp_path / "source"), count=600, size=100)
    monkeypatch.setattr(selection, "SMALL_SHARD_BYTES", 1 << 20)
    settings = {"source": "rafdb", "src": str(tmp_path / "source"), "transform": TransformOptions(size=100)}
    local = ingest(IngestOptions(**settings, out=str(tmp_path / "local")))
    node = cluster.add_node(num_cpus=1)
    seen: list[int] = []

    def kill(told: IngestProgress) -> None:
        if told.phase == "write":
            if told.done > 100 and max(seen, default=0) <= 100:
                cluster.remove_node(node, allow_graceful=False)
            seen.append(told.done)

    with pytest.warns(
        UserWarning, match=r"Ray lost a (node|worker) with \d tasks? under way, which other ones do again"
    ):
        on_ray = ingest(IngestOptions(**settings, out=str(tmp_path / "on-ray"), engine="ray"), progress=kill)

    assert on_ray.samples == local.samples and on_ray.num_shards > 10
    assert files(tmp_path / "on-ray") == files(tmp_path / "local")
    assert seen[-1] == 600 and any(done % on_ray.num_shards for done in seen)


def test_an_engine_that_is_unknown_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="engine: 'spark' found, expected local or ray"):
        IngestOptions(source="rafdb", src=str(source), out=str(tmp_path / "out"), engine="spark")


def test_without_ray_the_error_says_how_to_get_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(OptionError, match=r"pip install 'ferdata\[ray\]', or use engine=local"):
        ingest(
            IngestOptions(
                source="rafdb",
                src=str(source),
                out=str(tmp_path / "out"),
                transform=TransformOptions(size=32),
                engine="ray",
            )
        )


def test_the_command_line_has_the_option() -> None:
    assert "--engine" in CliRunner().invoke(app, ["shard", "--help"], env={"COLUMNS": "200"}).output
