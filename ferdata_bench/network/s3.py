"""An S3 server on this machine, in a process of its own: moto's, which keeps its objects in memory.

In: nothing. Out: its address, and the environment in which s3fs and others find it. Costs a second to start.
"""

import socket
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Self

from ferdata.optional import needs

__all__ = ["PACKAGES", "S3Server", "environment"]

PACKAGES = ("s3fs", "moto", "flask", "flask_cors")
"""What it takes; the extra ``s3-test`` brings them."""

START_SECONDS = 60


def environment(address: str) -> dict[str, str]:
    """Return the environment variables by which clients find a server, or a proxy in front of it."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


class S3Server:
    """A server without buckets; make one with ``Store("s3://name").make_dir()``.

    Raises:
        OptionError: If a package it takes is not installed.
    """

    def __init__(self) -> None:
        with needs("s3-test", "the S3 server of this study", *PACKAGES), socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is its owner's affair
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise RuntimeError(f"moto's server does not start within {START_SECONDS} s") from error
                time.sleep(0.05)
        import_module("s3fs").S3FileSystem.clear_instance_cache()  # or one of before would go on with its own address

    @staticmethod
    def is_installed() -> bool:
        """Tell whether all that it takes is installed."""
        return all(find_spec(name) is not None for name in PACKAGES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and with it its buckets."""
        self._process.kill()
        self._process.wait()
