"""What an installation without extras can do, and what it says of the rest: one line that names the extra."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ferdata.errors import OptionError
from ferdata.optional import needs

ROOT = Path(__file__).parent.parent
BASE = """
from pathlib import Path
import ferdata
from ferdata.plan import advise
from ferdata.synth import write_synthetic

write_synthetic("affectnet", "source", count=48, size=32)
ferdata.shard(ferdata.IngestOptions(source="affectnet", src="source", out="set", num_workers=2))
assert ferdata.verify("set", deep=True).ok and ferdata.describe("set")
advise.DECODE_SECONDS = advise.LOADER_SECONDS = 0.2
assert advise.plan("set").rows
assert Path(ferdata.preview("set", "sheet.png")).stat().st_size > 10_000
with ferdata.Loader("set", batch_size=4, num_workers=2) as loader:
    assert sum(len(labels) for _, labels in loader) == len(loader.dataset)
from ferdata.training import TrainOptions, load_run  # what was trained elsewhere is used here
for use in (lambda: ferdata.training.train, lambda: ferdata.read_index("s3://a"), lambda: ferdata.read_index("gs://a")):
    try:
        use()
    except ferdata.FerdataError as error:
        print(error)
"""


def packages_of(name: str) -> list[str]:
    """Return the packages of an extra."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return [re.match(r"[\w-]+", line)[0] for line in config["options.extras_require"][name].split()]


def run_without(packages: list[str], *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where these packages cannot be imported, in its children too."""
    site = cwd / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({packages!r}))\n")
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_shards_and_the_loader_need_no_extra(tmp_path: Path) -> None:
    """A machine that only streams installs nothing that draws or trains; a stray import would be noticed there."""
    extras = ("train", "bench", "timm", "sweep", "explain", "audit", "onnx", "video", "s3", "gcs", "ray", "lightning")
    optional = [name for each in extras for name in packages_of(each)]

    done = run_without(optional, "-c", BASE, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    extras = [re.search(r"; pip install 'ferdata\[(\w+)\]'$", line)[1] for line in done.stdout.splitlines()]
    assert extras == ["train", "s3", "gcs"]


@pytest.mark.parametrize(
    ("verb", "missing", "extra"),
    [
        (["train", "--shards", "none"], "tensorboard", "train"),
        (["bench-loader"], "psutil", "bench"),
        (["bench-loader"], "matplotlib", "bench"),
        (["audit", "none"], "cleanlab", "audit"),
        (["demo"], "tensorboard", "train"),
        (["sweep", "--vary", "lr=1,2"], "matplotlib", "train"),
        (["explain", "none"], "captum", "explain"),
    ],
)
def test_a_verb_whose_extra_is_missing_names_it(verb: list[str], missing: str, extra: str, tmp_path: Path) -> None:
    """Before it does anything: hours of training must not end in a missing plot."""
    done = run_without([missing], str(ROOT / "cli.py"), *verb, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        rf"error: [\w-]+: the package {missing} is not installed, expected it; pip install 'ferdata\[{extra}\]'\n",
        done.stderr,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_only_what_an_extra_brings_is_said_to_be_missing() -> None:
    """A module of ours that is not there is a fault of ours, not something to install."""
    text = r"^x: the package nowhere is not installed, .*'ferdata\[ray\]', or go on foot$"
    with pytest.raises(OptionError, match=text), needs("ray", "x", instead=", or go on foot"):
        import nowhere.at.all  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match="ferdata"), needs("ray", "x"):
        import ferdata.nowhere  # noqa: F401
