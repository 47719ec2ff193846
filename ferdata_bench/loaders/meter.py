"""Ceilings as the harness keeps them: measured once per turn between the contenders, in a process of their own.

In: the contenders' files. Out: images/s of copy, decode and disk, and each row's fraction of what applies to it.
"""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.ingest.options import DEFAULT_CODEC
from ferdata_bench.contenders import Entry
from ferdata_bench.loaders.process import RunnerProcess
from ferdata_bench.loaders.work import folder_bytes, read_through

__all__ = ["CeilingMeter"]

PIXEL_FILE_BYTES = 1 << 30
DISK_FILE_BYTES = 256 << 20
CHUNK_BYTES = 8 << 20
RUN_SECONDS = 0.5
TIMEOUT_SECONDS = 120.0


class CeilingMeter:
    """Measures ceilings through a runner, and answers with medians.

    Args:
        work: Folder for its own file.
        stack: Closes the runner at the end.
        bytes_per_image: Bytes of one image's pixels.
        images: Images in an epoch, which bounds the file that is copied.
        decoded: Contenders with a decode ceiling, and their files.
    """

    def __init__(
        self,
        work: Path,
        stack: ExitStack,
        *,
        bytes_per_image: int,
        images: int,
        decoded: Sequence[tuple[Entry, str, Path]],
    ) -> None:
        self._bytes_per_image = bytes_per_image
        self._decoded = decoded
        self._file = work / "pixels.bin"
        self._disk_file = work / "disk.bin"
        _fill(self._file, min(bytes_per_image * images, PIXEL_FILE_BYTES))
        self._runner = RunnerProcess("ceilings", folder=work)
        stack.callback(self._runner.close)
        self._rates: dict[tuple[str, int], list[float]] = {}

    @property
    def num_bytes(self) -> int:
        """Bytes of the files that ceilings are measured on."""
        return sum(folder_bytes(path) for path in self.files)

    def warm(self) -> None:
        """Read those files, so that the page cache holds them."""
        for path in self.files:
            read_through(path)

    @property
    def files(self) -> list[Path]:
        """The files and folders that ceilings are measured on."""
        return [self._file, *(out for _, _, out in self._decoded)]

    def measure(self, *, workers: int, batch_size: int) -> None:
        """Time every ceiling once for this number of processes."""
        shared: dict[str, Any] = {
            "num_processes": max(1, workers),
            "seconds": RUN_SECONDS,
            "timeout_seconds": TIMEOUT_SECONDS,
        }
        copied = {
            "files": [str(self._file)],
            "bytes_per_image": self._bytes_per_image,
            "batch_size": batch_size,
            **shared,
        }
        rates = [self._runner.ask("copy", streaming=streaming, **copied)["rate"] for streaming in (False, True)]
        self._rates.setdefault(("copy", workers), []).append(max(rates))
        for entry, codec, out in self._decoded:
            decoded = self._runner.ask("decode", factory=entry.decoder, out=str(out), **shared)
            self._rates.setdefault((codec, workers), []).append(decoded["rate"])

    def measure_disk(self, *, workers: int) -> None:
        """Time one cold read of a file written for it."""
        _fill(self._disk_file, DISK_FILE_BYTES)
        read = self._runner.ask(
            "disk",
            files=[str(self._disk_file)],
            bytes_per_image=1.0,
            num_processes=max(1, workers),
            timeout_seconds=TIMEOUT_SECONDS,
        )
        self._disk_file.unlink()
        self._rates[("disk", workers)] = [read["rate"]]

    def fraction(self, rate: float, codec: str, workers: int, *, ours: bool) -> float | None:
        """Return a rate as a fraction of the lower ceiling: copy, and for ferdata's own rows their codec's decoding."""
        applying = [self._median("copy", workers), self._median(codec, workers) if ours else None]
        ceilings = [ceiling for ceiling in applying if ceiling]
        return rate / min(ceilings) if ceilings else None

    def to_json(self, workers: int, *, stored_bytes: float) -> dict[str, Any]:
        """Return the ceilings for one number of workers; ``stored_bytes`` per image make images of the disk's bytes."""
        by_codec = {codec: self._median(codec, workers) for _, codec, _ in self._decoded}
        disk = self._median("disk", workers) or 0.0
        shown = DEFAULT_CODEC if by_codec.get(DEFAULT_CODEC) else next(iter(by_codec), None)
        return {
            "copy": self._median("copy", workers),
            "decode": by_codec[shown] if shown else None,
            "decode_codec": shown,
            "disk": disk / stored_bytes if stored_bytes else None,
            "decode_by_codec": by_codec,
            "disk_bytes_per_second": disk,
            "disk_bytes_per_image": stored_bytes,
            "by_workers": {
                str(n): {kind: self._median(kind, n) for kind, m in self._rates if m == n}
                for n in sorted({n for _, n in self._rates})
            },
        }

    def _median(self, kind: str, workers: int) -> float | None:
        rates = self._rates.get((kind, workers))
        return statistics.median(rates) if rates else None


def _fill(path: Path, num_bytes: int) -> None:
    """Write bytes that no file system can store in less room."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for start in range(0, num_bytes, CHUNK_BYTES):
            file.write(rng.bytes(min(CHUNK_BYTES, num_bytes - start)))
