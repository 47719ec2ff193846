"""The ring: memory is used again when nothing refers to it any more, never before, and leaves nothing behind."""

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import open_files, shm_bytes

from ferdata.stream.memory import ring as ring_module
from ferdata.stream.memory.ring import Ring, SharedBytes

SHAPE = (4, 3, 2, 2)
ROW_BYTES = 12

VIEWS: dict[str, Callable[[torch.Tensor], Any]] = {
    "the tensor": lambda tensor: tensor,
    "a row": lambda tensor: tensor[1],
    "one number": lambda tensor: tensor[1, 2, 0, 1],
    "a view of a view": lambda tensor: tensor[1:].permute(0, 2, 3, 1).reshape(3, 4, 3)[1:],
    "other dtype": lambda tensor: tensor.view(torch.int8),
    "detached": lambda tensor: tensor.detach(),
    "storage": lambda tensor: tensor.untyped_storage(),
    "numpy": lambda tensor: tensor.numpy(),
    "numpy of a slice": lambda tensor: tensor[2].numpy()[1:, 0],
    "asarray of numpy": lambda tensor: np.asarray(tensor.numpy()[1:3].T),
    "frombuffer": lambda tensor: np.frombuffer(tensor.numpy(), np.uint8),
    "memoryview": lambda tensor: memoryview(tensor.numpy())[1:],
    "tensor of numpy of tensor": lambda tensor: torch.from_numpy(tensor[1:].numpy()[1:]),
    "dlpack": lambda tensor: torch.from_dlpack(tensor),
    "numpy by dlpack": lambda tensor: np.from_dlpack(tensor),
    "a list of rows": lambda tensor: list(tensor),
    "unbound": lambda tensor: tensor.unbind()[3],
    "ctypes": lambda tensor: tensor.numpy().ctypes,
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_slot_stays_lent_while_any_view_of_it_lives(name: str) -> None:
    """A slot that returned too early is overwritten under a view somebody still reads: wrong pixels, no error."""
    ring = Ring(num_slots=2, batch_size=4, row_bytes=ROW_BYTES)
    slots = ring.take(2)
    assert slots == [0, 1]
    tensor = torch.from_numpy(ring.lend(0, SHAPE))

    view = VIEWS[name](tensor)
    del tensor
    gc.collect()

    assert (ring.num_leased, ring.num_free) == (1, 0)
    assert ring.take(1) is None
    del view
    assert (ring.num_leased, ring.num_free) == (0, 1)
    assert ring.take(1) == [0]


def test_a_lent_array_is_the_ring_itself() -> None:
    """Nothing is copied: what workers write into the rows is what the consumer sees."""
    ring = Ring(num_slots=3, batch_size=4, row_bytes=ROW_BYTES)
    ring.take(3)
    batch = torch.from_numpy(ring.lend(1, SHAPE))

    ring.rows[4:8] = np.arange(48).reshape(4, 12)

    assert batch.flatten().tolist() == list(range(48))
    batch[3, 2, 1, 1] = 200
    assert ring.rows[7, 11] == 200


def test_a_short_batch_covers_the_first_rows_of_its_slot() -> None:
    """The last batch of an epoch is shorter than its slot."""
    ring = Ring(num_slots=2, batch_size=4, row_bytes=ROW_BYTES)
    ring.take(2)
    ring.rows[:] = np.arange(8)[:, None]

    assert ring.lend(1, (2, 3, 2, 2)).reshape(2, 12)[:, 0].tolist() == [4, 5]


@settings(max_examples=50)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["take", "lend", "return", "drop", "reclaim"]), st.integers(0, 9)), max_size=60
    )
)
def test_every_slot_is_in_exactly_one_place(steps: list[tuple[str, int]]) -> None:
    """A slot that is lost shrinks the ring, and one that is there twice is written by two batches."""
    ring = Ring(num_slots=5, batch_size=1, row_bytes=1)
    taken: list[int] = []
    lent: list[np.ndarray] = []
    for step, number in steps:
        if step == "take":
            taken += ring.take(number) or []
        elif step == "lend" and taken:
            lent.append(ring.lend(taken.pop(number % len(taken)), (1,)))
        elif step == "return" and taken:
            ring.give_back(taken.pop(number % len(taken)))
        elif step == "drop" and lent:
            del lent[number % len(lent)]
        elif step == "reclaim":
            ring.reclaim()
            taken.clear()
        assert ring.num_leased == len(lent)
        assert ring.num_free + len(taken) + len(lent) == 5
        assert len(set(taken)) == len(taken)
    del lent
    ring.reclaim()
    assert sorted(ring.take(5) or []) == [0, 1, 2, 3, 4]


def test_slots_come_back_from_other_threads() -> None:
    """A consumer hands batches to a thread that drops them there; counts that race would lose slots for good."""
    ring = Ring(num_slots=64, batch_size=1, row_bytes=1)
    boxes: list[list[np.ndarray]] = [[], [], [], []]

    def drop(box: list[np.ndarray]) -> None:
        while box:
            box.pop()

    for _ in range(200):
        for number, slot in enumerate(ring.take(64) or []):
            boxes[number % 4].append(ring.lend(slot, (1,)))
        threads = [threading.Thread(target=drop, args=(box,)) for box in boxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (ring.num_leased, ring.num_free) == (0, 64)


def test_a_batch_outlives_the_ring_it_came_from() -> None:
    """A function may return its last batch and let the loader go."""
    ring = Ring(num_slots=1, batch_size=4, row_bytes=ROW_BYTES)
    ring.take(1)
    ring.rows[:] = 7
    batch = torch.from_numpy(ring.lend(0, SHAPE))

    del ring
    gc.collect()

    assert int(batch.sum()) == 7 * 48


def _write(memory: SharedBytes, place: int) -> None:
    memory.array()[place] = place


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_what_a_child_process_writes_is_seen_here(start_method: str) -> None:
    """Workers fill the ring from outside, forked or started anew."""
    memory = SharedBytes(1000)
    context = multiprocessing.get_context(start_method)

    children = [
        context.Process(target=_write, args=(memory, place))
        for place in ((3, 250) if start_method == "fork" else (250,))
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)

    assert int(memory.array().sum()) == (253 if start_method == "fork" else 250)


def test_memory_has_no_name_and_its_descriptor_is_closed() -> None:
    """A crash must leave nothing in /dev/shm, and a thousand loaders no open files."""
    gc.collect()  # what other tests left would be closed meanwhile
    before = open_files()

    ring = Ring(num_slots=4, batch_size=4, row_bytes=ROW_BYTES)
    inside = open_files()
    array = ring.memory.array()
    del ring
    gc.collect()

    assert inside > before
    assert shm_bytes() == 0
    del array
    assert open_files() == before


def test_memory_is_not_touched_before_it_is_used() -> None:
    """A ring of a gigabyte costs nothing until batches are built in it."""
    memory = SharedBytes(8 << 30)

    memory.array()[5 << 30] = 1

    assert 0 < os.fstat(memory._fd).st_blocks * 512 <= 2 << 20  # one page, be it a huge one


def test_populated_memory_keeps_what_is_in_it_and_is_shared_as_before() -> None:
    """Workers may be writing while others still have its pages made; the last ones fill no huge page."""
    memory = SharedBytes((7 << 20) + 123)
    memory.array()[:] = np.arange(memory.num_bytes) % 251

    memory.populate(1, 2)
    memory.populate()
    process = multiprocessing.get_context("fork").Process(target=_populate_and_write, args=(memory, 5))
    process.start()
    process.join(60)

    assert len(memory.array()) == memory.num_bytes
    assert memory.array()[5] == 255
    assert (memory.array()[6:] == np.arange(6, memory.num_bytes) % 251).all()
    assert os.fstat(memory._fd).st_size == memory.num_bytes


def _populate_and_write(memory: SharedBytes, place: int) -> None:
    memory.map_again()
    memory.populate()
    memory.array()[place] = 255


@pytest.mark.skipif(sys.platform != "linux", reason="addresses are chosen on Linux alone")
@pytest.mark.parametrize("num_bytes", [2 << 20, (9 << 20) + 1])
def test_large_memory_stands_where_huge_pages_can(num_bytes: int) -> None:
    """Elsewhere the kernel makes them all the same, and maps them in pieces of 4 kB."""
    memory = SharedBytes(num_bytes)
    assert memory.array().ctypes.data % (2 << 20) == 0
    memory.map_again()
    assert memory.array().ctypes.data % (2 << 20) == 0


def test_where_huge_pages_cannot_be_had_small_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 6.1 refuse, and one that has to make room first is not waited for."""
    memory = SharedBytes(40 << 20)
    monkeypatch.setattr(ring_module, "_MADV_COLLAPSE", 12345)
    memory.populate()
    monkeypatch.undo()
    monkeypatch.setattr(ring_module, "_POPULATE_SECONDS", 0)
    memory.populate()

    assert 0 < os.fstat(memory._fd).st_blocks * 512 <= 10 << 20  # one piece of 8 MB
    assert not memory.array().any()
