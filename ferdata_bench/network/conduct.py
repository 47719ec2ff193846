"""How a server and the network in front of it behave: far away, narrow, failing, or gone for a while.

In: what was asked, and how often before. Out: which fault happens to it. The same requests meet the same faults,
in whatever order and from however many connections they come.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FAULTS", "OUTAGES", "Conduct", "Request"]

FAULTS: dict[str, str] = {
    "reset": "the connection is reset in place of an answer",
    "silent": "no answer comes, and the connection stays open",
    "cut": "half the body arrives, then the connection ends",
    "stall": "half the body arrives, then nothing more, and the connection stays open",
    "trickle": "the body arrives a 16th at a time, ten a second",
    "short": "half the body arrives and is called all of it",
    "other": "another range arrives than was asked for, and is called what it is",
    "wrong": "another range arrives, and is called the one that was asked for",
    "flip": "one bit of the body is another",
    "whole": "the whole file arrives in place of a range",
}
"""Beside HTTP statuses, such as ``503``."""

OUTAGES = ("refused", "silent", "503")
"""Nobody listens any more; nothing arrives any more, and goes on where it was; every answer is a 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it was counted.

    Attributes:
        method: ``GET`` and so on.
        path: The path without the query.
        query: What follows the question mark.
        range: The header ``Range``, or nothing.
        login: The header ``Authorization``, or nothing.
        connection: Which connection it came by, counted from 1.
        fault: What happened to it, or nothing.
    """

    method: str
    path: str
    query: str = ""
    range: str = ""
    login: str = ""
    connection: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What is to happen to requests.

    Attributes:
        latency_seconds: One round trip: before every answer, and once more when a connection begins.
        bytes_per_second: Of each connection's answers; 0: as fast as they go.
        faults: What happens to the next requests that may fail, in order; an empty text is nothing.
        rates: Which part of all the others meets which fault.
        failing: Pattern of the paths, methods before them (``GET /set/train-000000.tar``), of requests that may fail.
        seed: Of ``rates``.
        ranges: Of a folder's server: whether it knows ranges.
        has_length: Of a folder's server: whether answers say how long they are; otherwise they come in chunks.
        compression: Of a folder's server: ``no``, ``asked`` (gzip for who accepts it), ``always``.
        redirect: Of a folder's server: where it sends who asks, an address that paths are appended to.
        login: Of a folder's server: the ``user:password`` that it wants.
    """

    latency_seconds: float = 0.0
    bytes_per_second: float = 0.0
    faults: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    failing: str = r"GET .*\.tar"
    seed: int = 0
    ranges: bool = True
    has_length: bool = True
    compression: str = "no"
    redirect: str = ""
    login: str = ""

    def __post_init__(self) -> None:
        unknown = {each for each in (*self.faults, *self.rates) if each and not each.isdecimal()} - FAULTS.keys()
        if unknown:
            raise ValueError(f"faults: {sorted(unknown)} found, expected an HTTP status or some of {list(FAULTS)}")

    def may_fail(self, request: Request) -> bool:
        """Tell whether faults happen to such requests."""
        return re.search(self.failing, f"{request.method} {request.path}") is not None

    def by_chance(self, request: Request, time: int) -> str:
        """Return the fault that a request meets when it is made for the ``time``-th time, or nothing."""
        drawn = random.Random(f"{self.seed} {request.path} {request.range} {time}").random()
        for fault, rate in self.rates.items():
            if drawn < rate:
                return fault
            drawn -= rate
        return ""
