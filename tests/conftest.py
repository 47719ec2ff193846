"""What holds for all tests."""

import gc
import signal
from collections.abc import Iterator
from functools import partial

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferdata.remote import Patience, patience

# Whether a test passes must not depend on how busy the machine is, nor on chance.
settings.register_profile("ferdata", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ferdata")


# A run in the background, or under nohup, is started with signals ignored that the programs under test must hear.
for name in ("SIGINT", "SIGHUP"):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(params=["streamed", "resident", "on a device"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the module's tests make every ``Loader`` so: reading shards, or holding them in memory, or in a device's.

    The processor stands for the device: it does the same tensor operations.
    """
    if request.param != "streamed":
        monkeypatch.setattr(request.module, "Loader", partial(request.module.Loader, resident=True))
    if request.param == "on a device":
        monkeypatch.setattr("ferdata.stream.loader.decodes_itself", lambda device: True)
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_was_met() -> Iterator[None]:
    """Have what comes next begin as a process does, fixtures of modules too: it has met no service that failed."""
    yield
    patience._total = Patience()


def pytest_collection_finish() -> None:
    """Let garbage collections, of which the tests of memory ask for many, pass over all that was imported by now."""
    given(st.none())(lambda _: None)()  # or the random numbers that hypothesis registers would seem to have no owner
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no process of a test that failed half-way; those of multiprocessing end with this one."""
    if getattr(session.config.option, "numprocesses", None):
        return  # its children run the tests, and each of them comes here
    for child in psutil.Process().children(recursive=True):
        try:
            if not any("multiprocessing" in word for word in child.cmdline()):
                child.kill()
        except psutil.NoSuchProcess:
            pass
