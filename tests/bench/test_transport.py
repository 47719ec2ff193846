"""The study of transports: every way fetches the ranges it is asked for, and the table says which is which."""

from collections.abc import Iterator

import numpy as np
import pytest

from ferdata.errors import OptionError
from ferdata_bench.network import Proxy
from ferdata_bench.network.s3 import environment
from ferdata_bench.studies.transport import WAYS, TransportOptions, TransportRow, fetch_ranges, markdown

SIZE, FILE_BYTES = 4096, 16384


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A folder with two files of numbers that go on from one to the next, as a web server and as a bucket."""
    work = tmp_path_factory.mktemp("far")
    (work / "bucket").mkdir()
    for number in range(2):
        first = number * FILE_BYTES // 8
        np.arange(first, first + FILE_BYTES // 8, dtype=np.uint64).tofile(work / "bucket" / f"{number}.tar")
    with Proxy(work) as server:
        yield server


@pytest.mark.parametrize("service", ["web server", "S3"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_fetches_each_range_once(
    way: str, service: str, server: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is asked for fewer requests, or gets other bytes, would win for nothing."""
    if way != "fsspec":
        pytest.importorskip("obstore")
    where = f"{server.url}/bucket"
    if service == "S3":
        pytest.importorskip("s3fs")
        where = "s3://bucket"
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
    pieces = [(f"{number}.tar", start) for start in range(0, FILE_BYTES, SIZE) for number in range(2)]
    began: list[int] = []
    server.requests()

    fetch_ranges(way, where, pieces, SIZE, FILE_BYTES, connections=3, begin=lambda: began.append(1))

    asked = sorted((each.path, each.range) for each in server.requests())
    ranges = [(f"/bucket/{name}", f"bytes={start}-{start + SIZE - 1}") for name, start in pieces]
    assert asked == sorted(ranges + ranges[:3]) and began == [1]  # the first three open the connections


def test_other_bytes_are_an_error(server: Proxy) -> None:
    """What is timed must be what was asked for."""
    with pytest.raises(RuntimeError, match=r"1\.tar: numbers \(2048, 2559\) found at byte 0, expected those from 8192"):
        fetch_ranges("fsspec", f"{server.url}/bucket", [("1.tar", 0)], SIZE, 65536, connections=1)


def test_the_table_has_a_row_for_each_round_trip() -> None:
    """The documents show what it prints."""
    rows = [
        TransportRow(
            service="S3",
            way=way,
            range_bytes=8 << 20,
            latency_ms=latency,
            megabytes_per_second=1000.4 + place,
            cpu_seconds_per_gigabyte=1 / (1 + place),
        )
        for latency in (0, 20)
        for place, way in enumerate(WAYS)
    ]

    table = markdown(rows)

    assert table[2:] == [
        f"| S3, 8 MiB, {latency} ms | 1,000 | 1,001 | 1,002 | 1.00 | 0.50 | 0.33 |" for latency in (0, 20)
    ]


def test_ranges_must_be_whole_numbers() -> None:
    """Their first and last number tell whether they are the right ones."""
    with pytest.raises(OptionError, match="ranges of whole 8 bytes"):
        TransportOptions(range_bytes=(12,))
