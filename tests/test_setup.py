"""What the set-up leaves behind, and what it asks for."""

import configparser
import re
import runpy
from pathlib import Path

import pytest
from PIL import features

ROOT = Path(__file__).parent.parent
oldest_versions = runpy.run_path(str(ROOT / "tools" / "fresh.py"))["oldest_versions"]


@pytest.mark.parametrize("decoder", ["jpg", "zlib", "libtiff", "webp", "jpg_2000", "avif"])
def test_the_environment_has_every_decoder_of_the_pillow_wheel(decoder: str) -> None:
    """A Pillow built here without WebP's headers would refuse images on this machine that every other one reads."""
    assert features.check(decoder)


def test_every_requirement_names_the_oldest_release_that_does() -> None:
    """`make fresh` installs just these versions and runs the tests; nobody would try a requirement without a bound."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    own, *tests = extras["test"].split()
    included = own.removeprefix("ferdata[").removesuffix("]").split(",")
    assert {"train", "bench"} <= set(included)
    wanted = {
        *config["options"]["install_requires"].split(),
        *tests,
        *(line for extra in included for line in extras[extra].split()),
    }

    assert not [line for line in wanted if not re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9,]+\])?>=\d+(\.\d+)*", line)]
    bounds = {re.sub(r"\[.*\]", "", line).replace(">=", "==") for line in wanted}
    assert sorted(oldest_versions(ROOT / "setup.cfg").split()) == sorted(bounds)
