"""A ring of payloads in place of pixels: what is decoded where it goes needs no more room, and no wider way there.

In: how long every payload is. Out: slots in which the payloads of a batch stand one after another, behind a table of
where each begins, so that one copy moves all of them.
"""

from collections.abc import Sequence

import numpy as np

from ferdata.errors import OptionError
from ferdata.format import ShardReader
from ferdata.format.codecs.codec import image_shape
from ferdata.format.codecs.compact import min_payload_bytes
from ferdata.sample import TensorSpec
from ferdata.stream.memory.resident import SplitReader
from ferdata.stream.memory.ring import Ring
from ferdata.stream.sets import OpenSplit

__all__ = ["PayloadRing", "decodes_payloads", "payload_sizes"]

_ALIGNED_BYTES = 64


def decodes_payloads(decode: str, opened: OpenSplit, *, resident: bool) -> bool:
    """Return whether payloads are to be decoded where batches go, as the loader's options ask.

    Raises:
        OptionError: If that is not possible.
    """
    if decode not in ("host", "device"):
        raise OptionError(f"decode: {decode!r} found, expected host or device")
    codecs = [one.index.codec for one in opened.sets]
    if decode == "host" or all(codec.is_copy for codec in codecs):
        return False
    if any(codec.name != "compact" for codec in codecs):
        found = ", ".join(dict.fromkeys(codec.name for codec in codecs))
        raise OptionError(
            f"decode: 'device' found for codec {found}, expected compact, which a device can decode, or raw; "
            "recode the shards, or use decode='host'"
        )
    if any(one.index.spec != opened.index.spec for one in opened.sets):
        raise OptionError(
            "decode: 'device' found for images that are resized, or given channels, as they are read, which workers "
            "do; use decode='host', or shard the sets alike"
        )
    if resident:
        raise OptionError(
            "decode: 'device' found with resident, which decodes where the samples are held; leave one of them out"
        )
    return True


def payload_sizes(shards: SplitReader, num_samples: int) -> np.ndarray:
    """Return how long the payload of every sample of a split is, int32 ``[num_samples]``; 0 for those not to be read.

    Costs opening every shard once.
    """
    sizes = np.zeros(num_samples, np.int32)
    sizes[slice(None) if shards.indices is None else shards.indices] = shards.sizes(ShardReader.payload_bytes, None)
    return sizes


class PayloadRing(Ring):
    """Slots that hold the payloads of a batch: int64 ``[n + 1]`` of where each begins, from the slot on, then they.

    A slot has room for a batch of the longest payload, whatever is drawn how often.

    Args:
        num_slots: Slots in all.
        batch_size: Samples of a batch.
        sizes: int32 ``[N]``, bytes of each sample's payload.
        spec: What a payload is of.
        between_processes: Whether worker processes fill them.
    """

    def __init__(
        self, *, num_slots: int, batch_size: int, sizes: np.ndarray, spec: TensorSpec, between_processes: bool
    ) -> None:
        # The last size is that of sample -1, of padding: the payload of an image of zeros is the shortest there is.
        self._sizes = np.append(sizes, np.int32(min_payload_bytes(image_shape(spec))))
        room = 8 * (batch_size + 1) + batch_size * int(self._sizes.max())
        slot_bytes = -(-room // _ALIGNED_BYTES) * _ALIGNED_BYTES
        super().__init__(num_slots=num_slots, batch_size=slot_bytes, row_bytes=1, between_processes=between_processes)
        self._batch_samples = batch_size

    def places(self, slots: Sequence[int], samples: np.ndarray) -> np.ndarray:
        """Return the byte of the ring at which each sample's payload begins."""
        size = self._batch_samples
        return np.concatenate(
            [
                slot * self.slot_bytes + self._table(samples[number * size : (number + 1) * size])[:-1]
                for number, slot in enumerate(slots)
            ]
        )

    def complete(self, slot: int, samples: np.ndarray) -> np.ndarray:
        """Write the table and the payloads of padding; return the slot's bytes, uint8 ``[n]``."""
        table = self._table(samples)
        slot_bytes = self.rows[slot * self.slot_bytes :, 0][: table[-1]]
        slot_bytes[: table[0]] = table.view(np.uint8)
        for row in np.flatnonzero(samples < 0):
            slot_bytes[table[row] : table[row + 1]] = 0
        return slot_bytes

    def _table(self, samples: np.ndarray) -> np.ndarray:
        """Return where in a slot the payload of each sample begins, and where the last one ends, int64 ``[n + 1]``."""
        return np.cumsum(np.append(8 * (len(samples) + 1), self._sizes[samples]), dtype=np.int64)
