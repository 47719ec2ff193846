"""The process of a :class:`ferdata_bench.network.Proxy`: serves connections, and does what its owner says line by line.

In: a folder or an address as its argument, orders as lines of JSON. Out: an answer to each. Ends with its input.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from http.client import responses
from pathlib import Path
from typing import Any

from ferdata_bench.network.answers import (
    PIECE_BYTES,
    Answer,
    Folder,
    Head,
    Upstream,
    read_body,
    read_head,
    refusal,
)
from ferdata_bench.network.conduct import OUTAGES, Conduct, Request

TRICKLE_SECONDS, TRICKLE_PIECES = 0.1, 16
BURST_SECONDS = 0.02
"""What a connection that waited may catch up: clocks wake late."""


class Network:
    """All connections of one server, and what is counted of them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.conduct = Conduct()
        self.faults: deque[str] = deque()
        self.asked: list[Request] = []
        self.times: Counter[tuple[str, str]] = Counter()
        self.happened: Counter[str] = Counter()
        self.requests = self.connections = self.at_once = self.most_at_once = self.bytes_sent = 0
        self.outage_at: tuple[int, float, str] | None = None
        self.is_refusing = False
        self.flows = asyncio.Event()
        self.flows.set()
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server | None = None
        self.port = 0

    async def listen(self) -> None:
        """Take connections, always at the same port."""
        self.server = await asyncio.start_server(
            self.serve, "127.0.0.1", self.port, limit=4 * PIECE_BYTES, backlog=1024
        )
        self.port = self.server.sockets[0].getsockname()[1]

    def order(self, order: str, **details: Any) -> dict[str, Any]:
        """Do what the owner says."""
        if order == "behave":
            self.conduct = Conduct(**details)
            self.faults = deque(self.conduct.faults)
            self.times.clear()
            return {"url": f"http://127.0.0.1:{self.port}"}
        if order == "outage":
            if details["kind"] not in OUTAGES:
                raise ValueError(f"kind: {details['kind']!r} found, expected one of {OUTAGES}")
            self.outage_at = (self.requests + details["after_requests"], details["seconds"], details["kind"])
            self.begin_outage()
            return {}
        if order == "requests":
            asked, self.asked = self.asked, []
            return {"requests": [asdict(each) for each in asked]}
        if order == "left":
            return {"left": len(self.faults)}
        return {
            "requests": self.requests,
            "connections": self.connections,
            "most_at_once": self.most_at_once,
            "bytes_sent": self.bytes_sent,
            "faults": dict(self.happened),
        }

    def begin_outage(self) -> None:
        """Begin the outage that was ordered, if it is time."""
        if self.outage_at is None or self.requests < self.outage_at[0]:
            return
        _, seconds, kind = self.outage_at
        self.outage_at = None
        self.happened[f"outage {kind}"] += 1
        asyncio.get_running_loop().call_later(seconds, lambda: asyncio.ensure_future(self.end_outage()))
        if kind == "silent":
            self.flows.clear()
        elif kind == "503":
            self.is_refusing = True
        else:
            assert self.server is not None
            self.server.close()
            for writer in [*self.writers]:
                reset(writer)

    async def end_outage(self) -> None:
        """Be there again."""
        self.flows.set()
        self.is_refusing = False
        if self.server is not None and not self.server.is_serving():
            await self.listen()

    def fault_of(self, request: Request) -> str:
        """Return what happens to a request, and count it."""
        fault = ""
        if self.is_refusing:
            fault = "503"
        elif self.conduct.may_fail(request):
            self.times[request.path, request.range] += 1
            if self.faults:
                fault = self.faults.popleft()
            else:
                fault = self.conduct.by_chance(request, self.times[request.path, request.range])
        if fault:
            self.happened[fault] += 1
        self.asked.append(replace(request, fault=fault))
        return fault

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        if self.server is not None and not self.server.is_serving():  # it came as an outage began
            reset(writer)
            return
        self.connections += 1
        self.writers.add(writer)
        connection = Connection(self, reader, writer, self.connections)
        try:
            while await connection.one_request():
                pass
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self.writers.discard(writer)
            await connection.source.close()
            writer.close()


class Connection:
    """One connection of a client."""

    def __init__(
        self, network: Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.network, self.reader, self.writer, self.number = network, reader, writer, number
        is_address = "://" in network.target
        self.source: Folder | Upstream = Upstream(network.target) if is_address else Folder(Path(network.target))
        self.is_new = True
        self.free_at = 0.0

    async def one_request(self) -> bool:
        """Answer the next request; tell whether there may be another."""
        head = await read_head(self.reader)
        if head is None:
            return False
        network = self.network
        method, target, _ = head.line.split(" ")
        path, _, query = target.partition("?")
        request = Request(
            method=method,
            path=path,
            query=query,
            range=head.headers.get("range", ""),
            login=head.headers.get("authorization", ""),
            connection=self.number,
        )
        network.requests += 1
        network.begin_outage()
        if self.writer.is_closing():
            return False
        fault = network.fault_of(request)
        network.at_once += 1
        network.most_at_once = max(network.most_at_once, network.at_once)
        try:
            await asyncio.sleep(network.conduct.latency_seconds * (2 if self.is_new else 1))
            self.is_new = False
            await network.flows.wait()
            if fault == "reset":
                reset(self.writer)
                return False
            if fault == "silent":
                return await self.until_left()
            return await self.give(await self.answer(head, fault), method, fault)
        finally:
            network.at_once -= 1

    async def answer(self, head: Head, fault: str) -> Answer:
        """Have a request answered, or another one in its place."""
        if head.headers.pop("expect", None):
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        _, body = read_body(self.reader, head, is_answer=False)
        asked = head.headers.get("range", "")
        if fault.isdecimal():
            async for _ in body:
                pass
            return refusal(int(fault))
        if fault in ("other", "wrong") and asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            head.headers["range"] = f"bytes={int(first) + 1}-{int(last) + 1}"
        if fault == "whole":
            head.headers.pop("range", None)
        answer = await self.source.answer(head, body, self.network.conduct)
        if fault == "wrong" and "content-range" in answer.headers:
            total = answer.headers["content-range"].rpartition("/")[2]
            answer.headers["content-range"] = f"bytes {asked.removeprefix('bytes=')}/{total}"
        return answer

    async def give(self, answer: Answer, method: str, fault: str) -> bool:
        """Send an answer; tell whether the connection goes on."""
        length, pieces = answer.num_bytes, answer.pieces
        half = (length or 0) // 2
        if fault == "short" and pieces is not None and length:
            length, pieces = half, first_bytes(pieces, half)
            answer.headers.pop("content-range", None)
        size = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        line = f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}".strip()
        self.writer.write(Head(line, {**answer.headers, **size}).encoded())
        if method == "HEAD" or pieces is None:
            await self.writer.drain()
            return True
        if fault in ("cut", "stall"):
            pieces = first_bytes(pieces, half)
        if fault == "flip":
            pieces = flipped(pieces, half)
        if fault == "trickle":
            pieces = trickling(pieces, max(1, (length or TRICKLE_PIECES) // TRICKLE_PIECES))
        async for piece in pieces:
            await self.send(piece, is_chunk=length is None)
        if fault == "stall":
            return await self.until_left()
        if fault == "cut":
            return False
        if length is None:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return True

    async def send(self, piece: bytes, *, is_chunk: bool) -> None:
        """Send a piece of a body, no faster than the connection may."""
        network, rate = self.network, self.network.conduct.bytes_per_second
        if rate:
            now = time.monotonic()
            self.free_at = max(now - BURST_SECONDS, self.free_at) + len(piece) / rate
            await asyncio.sleep(max(0.0, self.free_at - now))
        await network.flows.wait()
        network.bytes_sent += len(piece)
        self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunk else piece)
        await self.writer.drain()

    async def until_left(self) -> bool:
        """Say nothing until the client leaves."""
        await self.writer.drain()
        with contextlib.suppress(ConnectionError):
            await self.reader.read(1)
        return False


async def first_bytes(pieces: AsyncIterator[bytes], num_bytes: int) -> AsyncIterator[bytes]:
    """Yield so many bytes of a body; the rest of it is read and dropped."""
    async for piece in pieces:
        if num_bytes > 0:
            yield piece[:num_bytes]
        num_bytes -= len(piece)


async def flipped(pieces: AsyncIterator[bytes], place: int) -> AsyncIterator[bytes]:
    """Yield a body with another bit at a place."""
    start = 0
    async for piece in pieces:
        if start <= place < start + len(piece):
            changed = bytearray(piece)
            changed[place - start] ^= 16
            yield bytes(changed)
        else:
            yield piece
        start += len(piece)


async def trickling(pieces: AsyncIterator[bytes], num_bytes: int) -> AsyncIterator[bytes]:
    """Yield a body in small parts with pauses between them."""
    async for piece in pieces:
        for start in range(0, len(piece), num_bytes):
            yield piece[start : start + num_bytes]
            await asyncio.sleep(TRICKLE_SECONDS)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash does."""
    found = writer.get_extra_info("socket")
    if found is not None and not writer.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main(target: str) -> None:
    """Serve until the owner's end of the pipe is closed."""
    network = Network(target)
    await network.listen()
    loop = asyncio.get_running_loop()

    async def obey(order: dict[str, Any]) -> dict[str, Any]:
        try:
            return network.order(**order)
        except (ValueError, TypeError, KeyError) as error:
            return {"error": f"{error}"}

    def listen_to_owner() -> None:
        for line in sys.stdin:
            print(json.dumps(asyncio.run_coroutine_threadsafe(obey(json.loads(line)), loop).result()), flush=True)
        os._exit(0)

    threading.Thread(target=listen_to_owner, daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
