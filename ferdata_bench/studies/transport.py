"""fsspec or obstore: which of two clients should fetch the pieces of shards? The same ranges, by each, from one server.

Run ``python -m ferdata_bench.studies.transport --json transport.json`` on a quiet machine, with the extra ``s3-test``.
A server in a process of its own has a folder, as a web server and as a bucket of S3, so far away as is asked. Each
figure is taken in a fresh process, in turns, over connections that are open already; medians count. *fsspec* is what
the loader does: threads that ask ``ferdata.store.Store`` for ranges, into memory that is there. *obstore* is its
blocking call in as many threads, *obstore, async* its coroutines on one loop; both copy to the same memory.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.errors import FerdataError, OptionError
from ferdata.optional import needs
from ferdata.plan.conditions import describe_machine
from ferdata.store import Store
from ferdata_bench.network import Proxy
from ferdata_bench.network.s3 import environment

__all__ = ["TransportOptions", "TransportRow", "fetch_ranges", "main", "markdown", "measure_transport"]

WAYS = ("fsspec", "obstore", "obstore, async")
SERVICES = ("web server", "S3")
BUCKET, FILES = "bucket", 4
CLIENT_OPTIONS: Any = {"allow_http": True, "timeout": "10m"}
"""For obstore: no TLS here, and no end of an answer that is merely long."""

Piece = tuple[str, int]
"""A file, and where a range of it begins."""


def _of_the_loader() -> int:
    from ferdata.stream.fetch.fetcher import CONNECTIONS  # and torch with it, seconds for each of many processes

    return CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """What to time.

    Attributes:
        range_bytes: Sizes of ranges to try: a small one, and pieces as the loader fetches them.
        total_bytes: Bytes of a run, if that is no more than ``most_requests``.
        most_requests: Requests of a run at most.
        latencies_ms: Round trips to try.
        connections: Requests in flight.
        rounds: How often each figure is taken.
    """

    range_bytes: tuple[int, ...] = (16 << 10, 8 << 20, 16 << 20)
    total_bytes: int = 1 << 30
    most_requests: int = 2_000
    latencies_ms: tuple[int, ...] = (0, 20, 100)
    connections: int = field(default_factory=_of_the_loader)
    rounds: int = 3

    def __post_init__(self) -> None:
        least = min(*self.range_bytes, self.total_bytes, self.most_requests, self.connections, self.rounds)
        if least < 1 or min(self.latencies_ms) < 0 or any(size % 8 for size in self.range_bytes):
            raise OptionError(f"{self}: expected at least one of each, and ranges of whole 8 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportRow:
    """One figure.

    Attributes:
        service: ``web server`` or ``S3``.
        way: One of :data:`WAYS`.
        range_bytes: Size of a range.
        latency_ms: The round trip.
        megabytes_per_second: Median of the rounds; a megabyte has 10^6 bytes.
        cpu_seconds_per_gigabyte: Of the client's process, user and system, all threads; median.
    """

    service: str
    way: str
    range_bytes: int
    latency_ms: int
    megabytes_per_second: float
    cpu_seconds_per_gigabyte: float


def measure_transport(options: TransportOptions, tell: Callable[[str], None] = print) -> list[TransportRow]:
    """Return every figure.

    Raises:
        OptionError: If obstore or s3fs is not installed.
    """
    with needs("s3-test", "transport", "obstore", "s3fs"), tempfile.TemporaryDirectory(prefix="ferdata-") as work:
        file_bytes = _write_files(Path(work) / BUCKET, options)
        rows: list[TransportRow] = []
        with Proxy(work) as server:
            for latency in options.latencies_ms:
                server.behave(latency_seconds=latency / 1000)
                for service in SERVICES:
                    for size in options.range_bytes:
                        rows += _in_turns(server.url, service, size, latency, file_bytes, options)
                        for row in rows[-len(WAYS) :]:
                            tell(_line(row))
        return rows


def _write_files(folder: Path, options: TransportOptions) -> int:
    """Write files of 8-byte numbers that count their own places, all on; return the size of each."""
    folder.mkdir()
    largest = max(options.range_bytes)
    wanted = max(min(options.total_bytes, size * options.most_requests) for size in options.range_bytes)
    file_bytes = max(1, -(-wanted // largest // FILES)) * largest
    for number in range(FILES):
        first = number * file_bytes // 8
        np.arange(first, first + file_bytes // 8, dtype=np.uint64).tofile(folder / f"{number}.tar")
    return file_bytes


def _pieces(size: int, file_bytes: int, options: TransportOptions) -> list[Piece]:
    """Return which ranges a run asks for: one after the other in a file, files in turns."""
    count = max(1, min(options.total_bytes // size, options.most_requests))
    a_file = file_bytes // size
    return [(f"{number % FILES}.tar", (number // FILES) % a_file * size) for number in range(count)]


def _in_turns(
    url: str, service: str, size: int, latency: int, file_bytes: int, options: TransportOptions
) -> list[TransportRow]:
    where, extra = (f"{url}/{BUCKET}", {}) if service == "web server" else (f"s3://{BUCKET}", environment(url))
    asked = json.dumps({"options": asdict(options), "size": size, "file_bytes": file_bytes, "where": where})
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way, runs in found.items():
            done = subprocess.run(
                [sys.executable, "-m", __spec__.name, "--one", way, asked],
                check=True,
                stdout=subprocess.PIPE,
                env=os.environ | extra,
            )
            runs.append(json.loads(done.stdout))
    return [
        TransportRow(service=service, way=way, range_bytes=size, latency_ms=latency, **_medians(runs))
        for way, runs in found.items()
    ]


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def time_one(way: str, asked: dict[str, Any]) -> dict[str, float]:
    """Time one way in this process, after as many ranges as there are connections, which opens these."""
    options = TransportOptions(**{name: _tuple(value) for name, value in asked["options"].items()})
    size, file_bytes = asked["size"], asked["file_bytes"]
    pieces = _pieces(size, file_bytes, options)
    begun, cpu = 0.0, 0.0

    def begin() -> None:
        nonlocal begun, cpu
        begun, cpu = time.perf_counter(), time.process_time()

    fetch_ranges(way, asked["where"], pieces, size, file_bytes, connections=options.connections, begin=begin)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    gigabytes = len(pieces) * size / 1e9
    return {"megabytes_per_second": gigabytes * 1e3 / seconds, "cpu_seconds_per_gigabyte": cpu / gigabytes}


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def fetch_ranges(
    way: str,
    where: str,
    pieces: list[Piece],
    size: int,
    file_bytes: int,
    *,
    connections: int,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Fetch ranges of ``size`` bytes, so many at a time, each into memory that is there, and see that it is the one.

    Args:
        way: One of :data:`WAYS`.
        where: The folder's address.
        pieces: Which ranges, in order.
        size: Of each.
        file_bytes: Of each file, by which what arrives is checked.
        connections: Requests in flight.
        begin: Called once that many ranges have been fetched to open the connections.
    """
    rooms = [memoryview(bytearray(size)) for _ in range(connections)]
    first = (pieces * connections)[:connections]
    if way == "obstore, async":
        asyncio.run(_with_coroutines(where, first, pieces, rooms, file_bytes, begin))
        return
    read = _blocking_reader(way, where)

    def serve(room: memoryview, left: Iterator[Piece]) -> None:
        for name, start in left:
            read(name, start, room)
            _check(room, name, start, file_bytes)

    with ThreadPoolExecutor(connections) as pool:
        for asked in (first, pieces):
            left = iter(asked)  # each thread takes the next
            for done in [pool.submit(serve, room, left) for room in rooms]:
                done.result()
            if asked is first:
                begin()


def _blocking_reader(way: str, where: str) -> Callable[[str, int, memoryview], None]:
    if way == "fsspec":
        store = Store(where)

        def read(name: str, start: int, room: memoryview) -> None:
            store.read_into(name, start, room)

        return read
    far = _open_far(where)

    def read_far(name: str, start: int, room: memoryview) -> None:
        room[:] = memoryview(far.get_range(name, start=start, length=len(room)))

    return read_far


def _open_far(where: str) -> Any:
    """Return obstore's store for an address; it finds what a bucket needs in the environment."""
    from obstore.store import from_url

    return from_url(where, client_options=CLIENT_OPTIONS)


async def _with_coroutines(
    where: str,
    first: Sequence[Piece],
    pieces: Sequence[Piece],
    rooms: list[memoryview],
    file_bytes: int,
    begin: Callable[[], None],
) -> None:
    far = _open_far(where)

    async def serve(room: memoryview, left: Iterator[Piece]) -> None:
        for name, start in left:
            room[:] = memoryview(await far.get_range_async(name, start=start, length=len(room)))
            _check(room, name, start, file_bytes)

    for asked in (first, pieces):
        left = iter(asked)
        await asyncio.gather(*(serve(room, left) for room in rooms))
        if asked is first:
            begin()


def _check(room: memoryview, name: str, start: int, file_bytes: int) -> None:
    first = (int(Path(name).stem) * file_bytes + start) // 8
    found = (int.from_bytes(room[:8], "little"), int.from_bytes(room[-8:], "little"))
    if found != (first, first + len(room) // 8 - 1):
        raise RuntimeError(f"{name}: numbers {found} found at byte {start}, expected those from {first} on")


def markdown(rows: Sequence[TransportRow]) -> list[str]:
    """Return a table with a row for each service, size and round trip, MB/s and CPU seconds per GB of every way."""
    lines = [
        f"| | {' | '.join(f'{way}, MB/s' for way in WAYS)} | {' | '.join(f'{way}, CPU s/GB' for way in WAYS)} |",
        "|---|" + "---:|" * (2 * len(WAYS)),
    ]
    of = {(row.service, row.range_bytes, row.latency_ms, row.way): row for row in rows}
    for service, size, latency in dict.fromkeys(key[:3] for key in of):
        cells = [of[service, size, latency, way] for way in WAYS]
        figures = [f"{cell.megabytes_per_second:,.0f}" for cell in cells]
        figures += [f"{cell.cpu_seconds_per_gigabyte:.2f}" for cell in cells]
        lines.append(f"| {service}, {_size(size)}, {latency} ms | {' | '.join(figures)} |")
    return lines


def _size(num_bytes: int) -> str:
    return f"{num_bytes >> 20} MiB" if num_bytes >= 1 << 20 else f"{num_bytes >> 10} KiB"


def _line(row: TransportRow) -> str:
    return (
        f"{row.service:10} {_size(row.range_bytes):>7} {row.latency_ms:4} ms  {row.way:14} "
        f"{row.megabytes_per_second:8,.1f} MB/s {row.cpu_seconds_per_gigabyte:7.2f} CPU s/GB"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, time, print; write JSON where asked. ``--one WAY ASKED`` is what each process of it is called with."""
    given_arguments = sys.argv[1:] if arguments is None else arguments
    if given_arguments[:1] == ["--one"]:
        print(json.dumps(time_one(given_arguments[1], json.loads(given_arguments[2]))), flush=True)
        os._exit(0)  # obstore's threads may end a process by SIGABRT while Python takes it down
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.transport", description="Time ranges by fsspec and by obstore."
    )
    usual = TransportOptions()
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    for name in ("--total-bytes", "--most-requests", "--connections", "--rounds"):
        parser.add_argument(name, type=int, default=getattr(usual, name[2:].replace("-", "_")))
    for name in ("--range-bytes", "--latencies-ms"):
        parser.add_argument(name, type=int, nargs="+", default=getattr(usual, name[2:].replace("-", "_")))
    given: dict[str, Any] = vars(parser.parse_args(given_arguments))
    path = given.pop("json")
    try:
        options = TransportOptions(**{name: _tuple(value) for name, value in given.items()})
        machine = describe_machine()
        rows = measure_transport(options)
    except FerdataError as error:
        print(error)
        return 1
    print("\n".join(["", *markdown(rows)]))
    if path:
        packages = {name: version(name) for name in ("fsspec", "aiohttp", "s3fs", "obstore")}
        conditions = {**machine, **asdict(options), "packages": packages}
        values = {"conditions": conditions, "rows": [asdict(row) for row in rows]}
        path.write_text(json.dumps(values, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
