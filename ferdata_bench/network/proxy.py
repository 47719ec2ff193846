"""A server of a folder, or a proxy of another server, in a process of its own, that fails as it is told.

In: a folder or an address, and how to behave. Out: an address; what was asked, counted. Costs a process; it passes on
more than a client in Python takes.
"""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from ferdata_bench.network.conduct import Conduct, Request

__all__ = ["Counts", "Proxy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a server has done so far.

    Attributes:
        requests: How many requests it had.
        connections: How many connections were opened.
        most_at_once: How many requests were being answered at the same time, at most.
        bytes_sent: Bytes of all bodies.
        faults: How often each fault happened.
    """

    requests: int
    connections: int
    most_at_once: int
    bytes_sent: int
    faults: dict[str, int]


class Proxy:
    """A server on this machine.

    Args:
        target: A folder to serve by HTTP, or the address of a server to stand in front of, such as an S3 server.
        conduct: How to behave.

    Example:
        >>> with Proxy("shards", latency_seconds=0.02) as proxy:
        ...     proxy.behave(rates={"503": 0.1, "flip": 0.05})
        ...     _ = [*ferdata.Loader(f"{proxy.url}/affectnet", batch_size=32)]
        ...     proxy.counts().faults
        {'503': 2}
    """

    def __init__(self, target: str | os.PathLike[str], **conduct: Any) -> None:
        self.conduct = Conduct(**conduct)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ferdata_bench.network.process", os.fspath(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            start_new_session=True,  # Ctrl-C is its owner's affair
        )
        self._turn = threading.Lock()
        self.url: str = self._tell("behave", **asdict(self.conduct))["url"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port of this machine that it listens at."""
        return int(self.url.rpartition(":")[2])

    def behave(self, **changes: Any) -> None:
        """Change how it behaves from now on; faults that have not happened yet are forgotten."""
        self.conduct = replace(self.conduct, **changes)
        self._tell("behave", **asdict(self.conduct))

    def outage(self, seconds: float, *, after_requests: int = 0, kind: str = "refused") -> None:
        """Be gone for some seconds.

        Args:
            seconds: How long.
            after_requests: Begin when so many further requests have come; 0: now.
            kind: One of :data:`ferdata_bench.network.conduct.OUTAGES`.
        """
        self._tell("outage", seconds=seconds, after_requests=after_requests, kind=kind)

    def requests(self) -> list[Request]:
        """Return what was asked since the last call, in the order in which it came."""
        return [Request(**each) for each in self._tell("requests")["requests"]]

    def counts(self) -> Counts:
        """Return what was done so far."""
        return Counts(**self._tell("counts"))

    def faults_left(self) -> int:
        """Return how many of the faults that come in order have not happened yet."""
        return int(self._tell("left")["left"])

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _tell(self, order: str, **details: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps({"order": order, **details}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the server's process ended, expected an answer from it; see its message above")
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise ValueError(found["error"])
        return found
