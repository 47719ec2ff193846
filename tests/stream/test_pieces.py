"""Pieces hold every sample that is asked for, in few requests of bounded size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferdata.stream.fetch.arena import PieceArena
from ferdata.stream.fetch.pieces import GAP_BYTES, PIECE_BYTES, Piece, cut_pieces

SIZES = st.lists(st.tuples(st.integers(0, 2 * GAP_BYTES), st.integers(1, 2 * PIECE_BYTES)), min_size=1, max_size=30)


@given(sizes=SIZES, repeats=st.integers(1, 3))
def test_every_sample_is_in_its_piece_and_no_piece_is_too_large(sizes: list[tuple[int, int]], repeats: int) -> None:
    """Whatever is between samples, however large they are, and however often one is drawn."""
    ends = np.repeat(np.cumsum(np.ravel(sizes))[1::2], repeats)
    starts = ends - np.repeat([size for _, size in sizes], repeats)
    pieces = list(cut_pieces(7, starts, ends))

    assert [number for _, part in pieces for number in range(part.start, part.stop)] == list(range(len(starts)))
    for piece, part in pieces:
        assert (starts[part] >= piece.start).all() and (ends[part] <= piece.stop).all()
        assert piece.shard == 7 and piece.num_bytes <= max(PIECE_BYTES, int((ends - starts)[part].max()))
        gaps = np.append(starts[part][1:], piece.stop) - ends[part]
        assert (gaps <= GAP_BYTES).all()


def test_neighbours_share_a_request_and_strangers_do_not() -> None:
    """A run of neighbours with heads in between is one piece, up to the largest; what lies far away is another."""
    size, head = 1 << 20, 600
    starts = np.arange(20) * (size + head)
    far = int(starts[-1]) + size + GAP_BYTES + 1
    pieces = [piece for piece, _ in cut_pieces(0, np.append(starts, far), np.append(starts + size, far + 5))]

    assert pieces == [
        Piece(0, 0, int(starts[14]) + size),
        Piece(0, int(starts[15]), int(starts[19]) + size),
        Piece(0, far, far + 5),
    ]


@pytest.mark.parametrize("between_processes", [True, False])
def test_memory_of_pieces_is_bounded_used_again_and_given_back(between_processes: bool) -> None:
    """What nobody waits for yet waits for room; what is waited for has it, and leaves nothing behind."""
    size = 1 << 16
    arena = PieceArena(4 * size, between_processes=between_processes)
    pieces = [Piece(0, number * size, (number + 1) * size) for number in range(6)]
    places = [place for piece in pieces if (place := arena.reserve(piece, is_awaited=False)) is not None]
    assert len(places) == 4 and len({place.offset for place in places}) == 4

    beyond = arena.reserve(pieces[4], is_awaited=True)
    assert beyond is not None and beyond.offset >= 4 * size
    memory = arena.sources().array(0)
    for place in (*places, beyond):
        arena.fill(
            place, lambda start, stop, room=None: room.__setitem__(slice(None), bytes([start // size + 1]) * size)
        )
        assert (memory[place.offset : place.offset + size] == place.piece.start // size + 1).all()
    arena.release(beyond)
    assert not memory[beyond.offset : beyond.offset + size].any()  # given back to the system
    arena.release(places[1])
    again = arena.reserve(pieces[5], is_awaited=False)
    assert again is not None and again.offset == places[1].offset
    for place in (places[0], again, *places[2:]):
        arena.release(place)
    assert arena.used_bytes == 0
    arena.close()
    assert not memory.any()
