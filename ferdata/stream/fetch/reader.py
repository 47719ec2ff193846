"""What reads samples that were fetched: bodies in memory, wherever that is, into rows of a batch.

In: samples and where they are. Out: rows, in one C call for each job and source. Knows no network and no table.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ferdata.errors import ShardCorruptError
from ferdata.format.held import Bodies, BodyReader
from ferdata.store import Store
from ferdata.stream.fetch.pieces import PieceSources
from ferdata.stream.fitting import fit_rows
from ferdata.stream.order.windows import ShardMap
from ferdata.stream.sets import OpenSplit

__all__ = ["PieceReader"]


class PieceReader:
    """Reads fetched samples, with scratch memory of its own; not to be shared between threads.

    Args:
        opened: The split.
        sources: Where pieces are.
        are_payloads: Copy payloads as they are, to the bytes of ``out`` that ``rows`` say, in place of decoding.
    """

    def __init__(self, opened: OpenSplit, sources: PieceSources, *, are_payloads: bool = False) -> None:
        self._opened, self._sources, self._are_payloads = opened, sources, are_payloads
        self._readers = [BodyReader(one.index.codec, one.index.spec) for one in opened.sets]

    def read_rows(
        self,
        samples: np.ndarray,
        out: np.ndarray,
        rows: np.ndarray,
        located: np.ndarray,
        *,
        verify: bool | np.ndarray,
    ) -> int:
        """Decode samples of one set into ``out[rows]``; return bytes read.

        Args:
            samples: int64 ``[n]`` ascending, their indices.
            out: uint8 ``[R, bytes of a row]``; or uint8 ``[bytes]`` for payloads.
            rows: int64 ``[n]``, C-contiguous, the row each goes to; or the byte where its payload begins.
            located: int64 ``[5, n]``, see :class:`ferdata.stream.fetch.parts.Located`.
            verify: Whose checksums to verify, where the codec leaves the choice.

        Raises:
            ShardCorruptError: If one is damaged; it names shard and sample.
        """
        sources, edges = located[0], [0, *(np.flatnonzero(np.diff(located[0])) + 1).tolist(), len(samples)]
        num_bytes = 0
        for begin, end in pairwise(edges):
            part = slice(begin, end)
            due = verify if isinstance(verify, bool) else verify[part]
            memory = self._sources.array(int(sources[begin]))
            num_bytes += self._read(memory, samples[part], out, rows[part], located[:, part], due)
            self._sources.check(int(sources[begin]))
        return num_bytes

    def _read(
        self,
        memory: np.ndarray,
        samples: np.ndarray,
        out: np.ndarray,
        rows: np.ndarray,
        located: np.ndarray,
        verify: bool | np.ndarray,
    ) -> int:
        _, starts, stops, checksums, sizes = located
        number = int(np.searchsorted(self._opened.set_starts, samples[0], side="right")) - 1
        reader, stored = self._readers[number], self._opened.sets[number].index.spec
        sums = None if checksums[0] < 0 else checksums.astype(np.uint32)
        bodies = Bodies(memory, np.ascontiguousarray(starts), np.ascontiguousarray(stops), sums)
        if self._are_payloads:
            sizes = np.ascontiguousarray(sizes)
            return reader.read_rows(bodies, out, rows, damaged=self._named(samples), verify=verify, sizes=sizes)
        if stored == self._opened.index.spec:
            return reader.read_rows(bodies, out, rows, damaged=self._named(samples), verify=verify)

        def read(part: slice, pixels: np.ndarray, own: np.ndarray) -> int:
            due = verify if isinstance(verify, bool) else verify[part]
            return reader.read_rows(bodies[part], pixels, own, damaged=self._named(samples[part]), verify=due)

        return fit_rows(read, stored, self._opened.index.spec, out, rows)

    def _named(self, samples: np.ndarray) -> Callable[[int, ShardCorruptError], ShardCorruptError]:
        """Return what names shard and sample in the error for the sample of a number."""

        def damaged(number: int, error: ShardCorruptError) -> ShardCorruptError:
            [(shard, _, positions)] = ShardMap(self._opened.shard_sizes).by_shard(samples[number : number + 1])
            each, info = self._opened.shard(shard)
            where = Store(self._opened.sets[each].root).path(info.name)
            return ShardCorruptError(f"{where}: sample {positions[0]}: {error}; copy or write the shard again")

        return damaged
