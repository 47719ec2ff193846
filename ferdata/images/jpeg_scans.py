"""Is the compressed data of a JPEG whole? Reads every Huffman code and finds what libjpeg would fill in with a warning.

In: file bytes. Out: what is wrong, or None. Pillow hides those warnings and gives a picture whose lower part is made
up. Costs about 1 µs a code (10 to 20 ms for 224 px), so it is asked only where simplejpeg, which tells of warnings, is
not there or has one to tell of.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["STANDALONE", "count_scans", "find_damage"]

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_STUFFED = re.compile(rb"\xff+\x00")
STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment behind them."""
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_DHT, _EOI, _SOS, _DRI = 0xC4, 0xD9, 0xDA, 0xDD
_END_OF_BLOCK = 64
_FAST_BYTES = 512
_PADDING = bytes(64)

_Table = list[int]
"""By the next 16 bits: bits of a code and the value behind it, coefficients passed << 8, symbol << 16; 0: no code."""


@dataclass(slots=True)
class _Component:
    across: int
    down: int
    blocks_across: int = 0
    blocks_down: int = 0
    # One byte a coefficient, set once it is not zero: refining scans hold a bit for each of these.
    nonzero: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _Frame:
    is_progressive: bool = False
    components: dict[int, _Component] = field(default_factory=dict)
    units_across: int = 0
    units_down: int = 0


class _DamageError(Exception):
    """The data ends early or holds what is no code."""


class _Bits:
    """The bits of one stretch between two markers."""

    def __init__(self, data: bytes, num_bytes_behind: int) -> None:
        self._data = data + _PADDING
        self._num_bytes_behind = num_bytes_behind
        self._num_bits = 8 * len(data)
        self._word = int.from_bytes(self._data[:64], "big")
        self._start = 0
        self.position = 0

    def peek(self) -> int:
        """Return the next 16 bits."""
        shift = 496 - (self.position - self._start)
        if shift < 0:
            self._move()
            shift = 496 - (self.position - self._start)
        return self._word >> shift & 0xFFFF

    def take(self, count: int) -> int:
        """Return the next bits, at most 16."""
        value = self.peek() >> (16 - count)
        self.position += count
        return value

    def check(self) -> None:
        """See that no more was taken than there is."""
        if self.position > self._num_bits:
            raise _DamageError("premature end of the compressed data")

    def num_bytes_left(self, position: int) -> int:
        """Return how many bytes of the file lie behind a bit."""
        left = self._data[position >> 3 : -len(_PADDING)]
        return len(left) + left.count(b"\xff") + self._num_bytes_behind

    def _move(self) -> None:
        self.check()
        first = self.position >> 3
        self._word, self._start = int.from_bytes(self._data[first : first + 64].ljust(64, b"\0"), "big"), first << 3


def find_damage(data: bytes) -> str | None:
    """Return what is wrong with the scans of a baseline or progressive Huffman-coded JPEG, or None."""
    try:
        _read_scans(data)
    except _DamageError as error:
        return str(error)
    except (
        IndexError,
        KeyError,
        ValueError,
        ZeroDivisionError,
    ):  # a table or component that is not there: libjpeg is asked
        return None
    return None


def count_scans(data: bytes) -> int:
    """Return how many scans a decoder would go through."""
    return sum(marker == _SOS for marker, _, _ in _segments(data))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of every segment, to the end of the image; a scan's data stands behind its own."""
    position = 2
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == _EOI:
            yield marker, position, position
            return
        if marker not in STANDALONE:
            start, position = (
                position + 2,
                max(position + 2, position + int.from_bytes(data[position : position + 2], "big")),
            )
            yield marker, start, position


def _read_scans(data: bytes) -> None:
    frame, interval = _Frame(), 0
    tables: dict[int, _Table] = {}
    for marker, start, end in _segments(data):
        body = data[start:end]
        if marker == _EOI:
            return
        if marker in _FRAMES:
            frame = _read_frame(body, is_progressive=marker == 0xC2)
        elif marker == _DHT:
            tables |= _read_tables(body)
        elif marker == _DRI:
            interval = int.from_bytes(body[:2], "big")
        elif marker == _SOS:
            _read_scan(data, end, body, frame, tables, interval)
    raise _DamageError("no end-of-image marker")


def _read_frame(body: bytes, *, is_progressive: bool) -> _Frame:
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    found = {body[6 + 3 * i]: _Component(body[7 + 3 * i] >> 4, body[7 + 3 * i] & 15) for i in range(body[5])}
    most_across, most_down = max(c.across for c in found.values()), max(c.down for c in found.values())
    for component in found.values():
        component.blocks_across = -(-width * component.across // (8 * most_across))
        component.blocks_down = -(-height * component.down // (8 * most_down))
    return _Frame(is_progressive, found, -(-width // (8 * most_across)), -(-height // (8 * most_down)))


def _read_tables(body: bytes) -> dict[int, _Table]:
    """Return the tables of one segment by class and number, each flat over all 16-bit words."""
    tables, position = {}, 0
    while position + 17 <= len(body):
        counts, symbols = body[position + 1 : position + 17], position + 17
        table: _Table = []
        for length, count in enumerate(counts, 1):
            for symbol in body[symbols : symbols + count]:
                table += [_entry(length, symbol, is_dc=body[position] < 16)] * (1 << (16 - length))
            symbols += count
        tables[body[position]] = (table + [0] * (65536 - len(table)))[:65536]
        position = symbols
    return tables


def _entry(length: int, symbol: int, *, is_dc: bool) -> int:
    if is_dc and symbol > 15:
        return 0
    run, size = symbol >> 4, symbol & 15
    passed = run + 1 if size or run == 15 else _END_OF_BLOCK
    return (symbol << 16) | (1 if is_dc else passed) << 8 | (length + (symbol if is_dc else size))


def _read_scan(
    data: bytes, position: int, header: bytes, frame: _Frame, tables: dict[int, _Table], interval: int
) -> None:
    """Read one scan, whose data begins at ``position``."""
    chosen = [(frame.components[header[1 + 2 * i]], header[2 + 2 * i]) for i in range(header[0])]
    first, last, approximation = header[1 + 2 * header[0] :][:3] if frame.is_progressive else (0, 63, 0)
    if len(chosen) == 1:
        units = chosen[0][0].blocks_across * chosen[0][0].blocks_down
        blocks = [chosen[0]]
    else:
        units = frame.units_across * frame.units_down
        blocks = [pair for pair in chosen for _ in range(pair[0].across * pair[0].down)]
    dc, ac = [tables.get(pair[1] >> 4, []) for pair in blocks], [tables.get(16 | pair[1] & 15, []) for pair in blocks]
    read: Callable[[_Bits, int, int], None]
    if not frame.is_progressive:
        pairs = list(zip(dc, ac, strict=True))
        read = lambda bits, start, count: _read_blocks(bits, pairs, count, is_fast=not interval)  # noqa: E731
    elif first == 0 and approximation >> 4:
        read = lambda bits, start, count: _skip(bits, count * len(blocks))  # noqa: E731
    elif first == 0:
        read = lambda bits, start, count: _read_first_dc(bits, dc, count)  # noqa: E731
    else:
        nonzero = chosen[0][0].nonzero
        nonzero += bytes(max(64 * units - len(nonzero), 0))
        read = lambda bits, start, count: (_refine_ac if approximation >> 4 else _read_first_ac)(  # noqa: E731
            bits, ac[0], nonzero, range(64 * start, 64 * (start + count), 64), first, last
        )
    for number, start in enumerate(range(0, units, interval or units)):
        if number:
            position = _pass_restart(data, position, number - 1 & 7)
        match = _MARKER.search(data, position)
        end = match.start() if match else len(data)
        bits = _Bits(_STUFFED.sub(b"\xff", data[position:end].rstrip(b"\xff")), len(data) - end)
        read(bits, start, min(interval or units, units - start))
        bits.check()
        position = end


def _pass_restart(data: bytes, position: int, number: int) -> int:
    match = _MARKER.search(data, position)
    if match is None or match[1][0] != 0xD0 + number:
        raise _DamageError(f"marker {match[1].hex() if match else 'none'} found instead of RST{number}")
    return match.end()


def _skip(bits: _Bits, count: int) -> None:
    bits.position += count


def _read_first_dc(bits: _Bits, tables: Sequence[_Table], units: int) -> None:
    for _ in range(units):
        for table in tables:
            bits.position += _known(table[bits.peek()]) & 0xFF


def _read_blocks(bits: _Bits, tables: Sequence[tuple[_Table, _Table]], units: int, *, is_fast: bool) -> None:
    far_bytes = _FAST_BYTES * len(tables)
    for _ in range(units):
        unit = bits.position
        for dc, ac in tables:
            passed = 0
            while passed < 64:
                entry = (ac if passed else dc)[bits.peek()]
                if not entry:
                    # Far from a file's end, libjpeg-turbo's fast way takes this for an empty block and says nothing.
                    if not is_fast or bits.num_bytes_left(unit) < far_bytes:
                        raise _DamageError("bad Huffman code")
                    entry = 17 | (_END_OF_BLOCK if passed else 1) << 8
                bits.position += entry & 0xFF
                passed += entry >> 8 & 0xFF


def _read_first_ac(bits: _Bits, table: _Table, nonzero: bytearray, blocks: range, first: int, last: int) -> None:
    waiting = 0
    for block in blocks:
        if waiting:
            waiting -= 1
            continue
        place = first
        while place <= last:
            entry = _known(table[bits.peek()])
            run, size = entry >> 20, entry >> 16 & 15
            bits.position += entry & 0xFF
            if size:
                place += run
                nonzero[block + min(place, 63)] = 1
            elif run == 15:
                place += 15
            else:
                waiting = (1 << run) + (bits.take(run) if run else 0) - 1
                break
            place += 1


def _refine_ac(bits: _Bits, table: _Table, nonzero: bytearray, blocks: range, first: int, last: int) -> None:
    waiting = 0
    for block in blocks:
        place = first
        while not waiting and place <= last:
            entry = _known(table[bits.peek()])
            run, size = entry >> 20, entry >> 16 & 15
            if size > 1:
                raise _DamageError("bad Huffman code")
            bits.position += entry & 0xFF  # with the sign of a new coefficient
            if not size and run < 15:
                waiting = (1 << run) + (bits.take(run) if run else 0)
                break
            while place <= last:
                if nonzero[block + place]:
                    bits.position += 1
                elif run:
                    run -= 1
                else:
                    break
                place += 1
            if size:
                nonzero[block + min(place, 63)] = 1
            place += 1
        if waiting:
            bits.position += sum(nonzero[block + place : block + last + 1])
            waiting -= 1


def _known(entry: int) -> int:
    if not entry:
        raise _DamageError("bad Huffman code")
    return entry
