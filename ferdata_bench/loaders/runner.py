"""One contender, or the ceilings, in its own process, driven over stdin and stdout by lines of JSON.

In: ``{"do": VERB, ...}``, verbs being the public methods below and ``quit``. Out: for each one line, ``{"ok": true,
...}`` or ``{"ok": false, "error": ...}``. The process may belong to another virtual environment than the harness; all
measure with one clock and one loop.

    python -m ferdata_bench.loaders.runner CONTENDER | ceilings
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ferdata.errors import FerdataError
from ferdata.plan.ceilings import Job, Team, copy_job, decode_job, drop_from_cache, read_job
from ferdata.plan.timing import now
from ferdata_bench.contenders import Batch, Contender, Entry, find, load
from ferdata_bench.loaders.reference import Reference, check_epoch
from ferdata_bench.loaders.usage import cpu_seconds_of_tree

__all__ = ["CeilingRunner", "Runner", "main"]

DISK_SECONDS = 20.0


class CeilingRunner:
    """Answers the harness's requests for ceilings; teams of processes stay between requests."""

    def __init__(self) -> None:
        self._teams: dict[str, Team] = {}

    def copy(
        self,
        *,
        files: list[str],
        bytes_per_image: int,
        batch_size: int,
        streaming: bool,
        num_processes: int,
        seconds: float,
    ) -> dict[str, Any]:
        """Time one way to copy."""
        name = f"copy {num_processes} {batch_size} {streaming}"
        job = copy_job(files, bytes_per_image=bytes_per_image, batch_size=batch_size, streaming=streaming)
        return self._run(name, job, num_processes, seconds)

    def decode(self, *, factory: str, out: str, num_processes: int, seconds: float) -> dict[str, Any]:
        """Time the decode ceiling of one contender's frames."""
        return self._run(f"decode {factory} {out} {num_processes}", decode_job(factory, out), num_processes, seconds)

    def disk(self, *, files: list[str], bytes_per_image: float, num_processes: int) -> dict[str, Any]:
        """Time one cold read of files that nobody has mapped."""
        drop_from_cache([Path(file) for file in files])
        team = Team(read_job(files, bytes_per_image=bytes_per_image), num_processes=num_processes)
        rate, _ = team.run(DISK_SECONDS)
        team.close()
        return {"rate": rate}

    def _run(self, name: str, job: Job, num_processes: int, seconds: float) -> dict[str, Any]:
        if name not in self._teams:
            self._teams[name] = Team(job, num_processes=num_processes)
            self._teams[name].run(seconds / 4)  # warm up
        rate, _ = self._teams[name].run(seconds)
        return {"rate": rate}


class Runner:
    """Answers the harness's requests about one contender; one method per verb."""

    _contender: Contender

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._batches: Iterable[Batch] = ()
        self._out = Path()
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
            "version": self._entry.version(),
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
        self._out = Path(out)
        self._opened_at = now()
        self._batches = self._contender.batches(self._out, batch_size=batch_size, num_workers=num_workers, seed=seed)
        return {}

    def check(self, *, reference: str) -> dict[str, Any]:
        """Read an epoch and compare all of it with the reference."""
        name_classes = getattr(self._contender, "class_names", None)
        classes = name_classes(self._out) if name_classes else ()
        images = check_epoch(
            self._noticing_the_first(), Reference.load(Path(reference)), exact=self._contender.LOSSLESS, classes=classes
        )
        return {"images": images, "first_batch_seconds": self._first_batch_seconds}

    def warm(self) -> dict[str, Any]:
        """Read an epoch without timing it, and tell what later epochs must deliver again."""
        images, labels_sum, bytes_sum = _consume(self._noticing_the_first())
        return {"images": images, "sums": [labels_sum, bytes_sum], "first_batch_seconds": self._first_batch_seconds}

    def epoch(self, *, min_seconds: float) -> dict[str, Any]:
        """Time whole epochs until ``min_seconds`` have passed."""
        totals = np.zeros(3, np.int64)
        epochs, cpu, start = 0, cpu_seconds_of_tree(os.getpid()), now()
        while True:
            totals += _consume(self._batches)
            epochs += 1
            if (seconds := now() - start) >= min_seconds:
                break
        cpu = cpu_seconds_of_tree(os.getpid()) - cpu
        images, *sums = (totals / epochs).tolist()
        return {"seconds": seconds, "epochs": epochs, "images": images, "sums": sums, "cpu_seconds": cpu}

    def _noticing_the_first(self) -> Iterator[Batch]:
        for batch in self._batches:
            if self._first_batch_seconds is None:
                self._first_batch_seconds = now() - self._opened_at
            yield batch


def _consume(batches: Iterable[Batch]) -> tuple[int, int, int]:
    """Read an epoch as a consumer that touches one byte of every image; return images, sums of labels and bytes."""
    images, labels_sum, bytes_sum = 0, 0, 0
    for pixels, labels in batches:
        bytes_sum += int(pixels[:, 0, 0, 0].sum())
        labels_sum += int(labels.sum())
        images += len(labels)
    return images, labels_sum, bytes_sum


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
    runner = CeilingRunner() if name == "ceilings" else Runner(find(name))
    verbs = {verb: getattr(runner, verb) for verb in dir(runner) if not verb.startswith("_")}
    serve(verbs, sys.stdin, replies)


if __name__ == "__main__":
    main(sys.argv[1])
