"""What holds for all tests."""

import gc

import psutil
from hypothesis import HealthCheck, settings

# Whether a test passes must not depend on how busy the machine is, nor on chance.
settings.register_profile("ferdata", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ferdata")


def pytest_collection_finish() -> None:
    """Let garbage collections, of which the tests of memory ask for many, pass over all that was imported by now."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Leave no process of a test that failed half-way; those of multiprocessing end with this one."""
    for child in psutil.Process().children(recursive=True):
        try:
            if not any("multiprocessing" in word for word in child.cmdline()):
                child.kill()
        except psutil.NoSuchProcess:
            pass
