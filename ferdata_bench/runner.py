"""One contender in one process of its own, driven over stdin and stdout by lines of JSON.

In: ``{"do": "hello" | "ingest" | "open" | "check" | "epoch" | "quit", ...}``. Out: for each one line, ``{"ok": true, ...}`` or ``{"ok":
false, "error": ...}``. The process may belong to another virtual environment than the harness; all measure with one clock and one loop.

    python -m ferdata_bench.runner CONTENDER
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from ferdata.errors import FerdataError
from ferdata_bench.contenders import Batch, Contender, Entry, find, load
from ferdata_bench.reference import Reference, check_epoch
from ferdata_bench.timing import now
from ferdata_bench.usage import cpu_seconds_of_tree

__all__ = ["Runner", "main"]


class Runner:
    """Answers the harness's requests about one contender; one method a verb."""

    _contender: Contender

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._batches: Iterable[Batch] = ()
        self._opened_at = 0.0
        self._first_batch_seconds: float | None = None

    def hello(self) -> dict[str, Any]:
        """Tell whether the contender can run here; if so import its library and give its fixed facts."""
        if reason := self._entry.available():
            return {"unavailable": reason}
        self._contender = contender = load(self._entry)
        return {
            "unavailable": None,
            "codec": contender.CODEC,
            "shuffle": contender.SHUFFLE,
            "lossless": contender.LOSSLESS,
            "python": sys.version.split()[0],
        }

    def ingest(self, *, source: str, out: str) -> dict[str, Any]:
        """Write the contender's files and time it."""
        start, cpu = now(), cpu_seconds_of_tree(os.getpid())
        self._contender.ingest(Path(source), Path(out))
        return {"seconds": now() - start, "cpu_seconds": cpu_seconds_of_tree(os.getpid()) - cpu}

    def open(self, *, out: str, batch_size: int, num_workers: int, seed: int) -> dict[str, Any]:
        """Build the loader. The time to the first batch counts from here."""
        self._first_batch_seconds = None
        self._opened_at = now()
        self._batches = self._contender.batches(Path(out), batch_size=batch_size, num_workers=num_workers, seed=seed)
        return {}

    def check(self, *, reference: str) -> dict[str, Any]:
        """Read an epoch and compare all of it with the reference."""
        classes: tuple[str, ...] = getattr(self._contender, "CLASSES", ())
        images = check_epoch(self._noticing_the_first(), Reference.load(Path(reference)), exact=self._contender.LOSSLESS, classes=classes)
        return {"images": images, "first_batch_seconds": self._first_batch_seconds}

    def epoch(self, *, min_seconds: float = 0.0) -> dict[str, Any]:
        """Time whole epochs until ``min_seconds`` have passed; the consumer reads one byte of every image."""
        images, labels_sum, bytes_sum, epochs = 0, 0, 0, 0
        cpu, start = cpu_seconds_of_tree(os.getpid()), now()
        while True:
            for batch, labels in self._batches:
                bytes_sum += int(batch[:, 0, 0, 0].sum())
                labels_sum += int(labels.sum())
                images += len(labels)
            epochs += 1
            if (seconds := now() - start) >= min_seconds:
                break
        cpu = cpu_seconds_of_tree(os.getpid()) - cpu
        return {
            "seconds": seconds,
            "images": images,
            "epochs": epochs,
            "cpu_seconds": cpu,
            "label_sum": labels_sum / epochs,
            "byte_sum": bytes_sum / epochs,
        }

    def _noticing_the_first(self) -> Iterable[Batch]:
        for batch in self._batches:
            if self._first_batch_seconds is None:
                self._first_batch_seconds = now() - self._opened_at
            yield batch


def serve(verbs: dict[str, Callable[..., dict[str, Any]]], requests: Iterable[str], replies: IO[str]) -> None:
    """Answer one JSON line for each request line, until ``quit`` or the end of the input."""
    for line in requests:
        request = json.loads(line)
        verb = request.pop("do")
        if verb == "quit":
            return
        try:
            reply = {"ok": True, **verbs[verb](**request)}
        except FerdataError as error:
            reply = {"ok": False, "error": str(error)}
        except Exception as error:  # a contender may fail in any way; the harness names it and goes on with the others
            traceback.print_exc()
            reply = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


def main(name: str) -> None:
    """Serve one contender until the harness closes our input."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr, never between the replies
    runner = Runner(find(name))
    verbs = {verb: getattr(runner, verb) for verb in ("hello", "ingest", "open", "check", "epoch")}
    serve(verbs, sys.stdin, replies)


if __name__ == "__main__":
    main(sys.argv[1])
