"""FORMAT.md's section on ``compact``: its example is recomputed, and a reader made from it reads what we write."""

import re
from pathlib import Path

import numpy as np
import pytest

import ferdata.format
from ferdata.format.codecs.compact import ARRANGEMENTS, COLOURS, DEFAULT_FILTER, PREDICTORS, FilterCoder, FilterSpec
from ferdata.format.codecs.compact.filter_spec import filter_header

PAGE = Path(ferdata.format.__file__).with_name("FORMAT.md").read_text()
SECTION = PAGE[PAGE.index("### 9.3") : PAGE.index("### 9.4")]
EXAMPLE = SECTION[SECTION.index("**Example.**") :]
SHAPE = (3, 2, 3)


def line(name: str) -> np.ndarray:
    """Return the values of one line of the example's first table."""
    text = re.search(rf"^\| {name} \| (.+) \|$", EXAMPLE, re.MULTILINE)
    assert text
    return np.array(text[1].replace("\\|", "").split(), np.uint8)


def payload() -> bytes:
    """Return the bytes of the example's second table."""
    sections = re.findall(r"^\| [a-z, ]+ \| `([0-9a-f ]+)` \|$", EXAMPLE, re.MULTILINE)
    assert len(sections) == 8
    return bytes.fromhex(" ".join(sections))


@pytest.mark.parametrize("compiled", [True, False])
def test_the_example_is_what_we_write_and_read(compiled: bool) -> None:
    """An example that is wrong is worse than none."""
    coder = FilterCoder(DEFAULT_FILTER, SHAPE, compiled=compiled)
    pixels = line("pixels").reshape(SHAPE)
    out = np.zeros(SHAPE, np.uint8)
    coder.decode_into(payload(), out)

    assert coder.encode(pixels).tobytes() == payload()
    np.testing.assert_array_equal(out, pixels)
    assert len(payload()) == 41


def test_every_line_of_the_example_follows_from_the_one_before() -> None:
    """By the page's own formulas."""
    red, green, blue = line("pixels").reshape(SHAPE)
    np.testing.assert_array_equal(line("colour"), np.stack([green, red - green, blue - green]).ravel())
    planes = line("colour").reshape(SHAPE)
    np.testing.assert_array_equal(line("residuals").reshape(SHAPE), planes - predictions(planes, "gradient"))
    np.testing.assert_array_equal(
        line("folded"), [2 * r if r < 128 else 511 - 2 * r for r in map(int, line("residuals"))]
    )


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_reader_made_from_the_page_reads_what_we_write(predictor: str, colour: str, arrangement: str) -> None:
    """The page must do without our code, for smooth pictures, noise and constants of odd sizes."""
    spec = FilterSpec(predictor=predictor, colour=colour, arrangement=arrangement)
    rng = np.random.default_rng(7)
    for shape in ((3, 5, 7), (1, 1, 1), (4, 3, 11), (2, 9, 4)):
        smooth = (
            np.add.outer(np.arange(shape[0]) * 9, np.add.outer(np.arange(shape[1]) * 3, np.arange(shape[2]) * 2)) + 90
        ).astype(np.uint8)
        for pixels in (
            smooth,
            smooth + rng.integers(0, 4, shape, np.uint8),
            rng.integers(0, 256, shape, np.uint8),
            np.full(shape, 200, np.uint8),
        ):
            stored = FilterCoder(spec, shape).encode(pixels).tobytes()
            np.testing.assert_array_equal(read(stored, spec, shape), pixels)


def test_the_header_is_the_one_on_the_page() -> None:
    """Members declare their filter with it."""
    header = filter_header(DEFAULT_FILTER, (3, 224, 224))
    magic, text = (
        re.search(r"is `([0-9a-f ]{20})` \(`PIXELS`\)", SECTION),
        re.search(r'JSON `(\{"predictor.+?\})`', SECTION),
    )
    assert magic and text
    assert header == (bytes.fromhex(magic[1]) + b"\x01" + text[1].encode()).ljust(127) + b"\n"
    assert len(header) == 128
    for value in (*COLOURS, *PREDICTORS, *ARRANGEMENTS):
        assert f"`{value}`" in SECTION


def read(data: bytes, spec: FilterSpec, shape: tuple[int, int, int]) -> np.ndarray:
    """Undo a payload as the page says, one value at a time."""
    n = shape[0] * shape[1] * shape[2]
    folded = {"bytes": of_bytes, "nibbles": of_nibbles, "planes": of_planes, "rice": of_rice}[spec.arrangement](
        data, n
    )[:n]
    residuals = np.array([f // 2 if f % 2 == 0 else 255 - f // 2 for f in folded], np.uint8).reshape(shape)
    planes = np.zeros(shape, np.uint8)
    for y in range(shape[1]):
        for x in range(shape[2]):
            planes[:, y, x] = residuals[:, y, x] + predictions(planes, spec.predictor)[:, y, x]
    if spec.colour == "none" or shape[0] < 3:
        return planes
    first, second, third = planes[:3].copy()
    if spec.colour == "green":
        planes[:3] = second + first, first, third + first
    else:
        middle = first - half(third)
        blue = middle - half(second)
        planes[:3] = second + blue, third + middle, blue
    return planes


def half(values: np.ndarray) -> np.ndarray:
    return np.array([(v - 256 if v > 127 else v) // 2 % 256 for v in map(int, values.ravel())], np.uint8).reshape(
        values.shape
    )


def predictions(planes: np.ndarray, predictor: str) -> np.ndarray:
    """Return the prediction of every pixel from its neighbours."""
    out = np.zeros(planes.shape, np.int64)
    values = planes.astype(np.int64)
    for c, y, x in np.ndindex(planes.shape) if predictor != "none" else ():
        left, above, corner = values[c, y, x - 1], values[c, y - 1, x], values[c, y - 1, x - 1]
        if y == 0 or x == 0:
            out[c, y, x] = 0 if y == x == 0 else left if y == 0 else above
        elif predictor == "median" and corner >= max(left, above):
            out[c, y, x] = min(left, above)
        elif predictor == "median" and corner <= min(left, above):
            out[c, y, x] = max(left, above)
        else:
            out[c, y, x] = {"left": left, "row": above}.get(predictor, left + above - corner)
    return (out % 256).astype(np.uint8)


def of_bytes(data: bytes, n: int) -> list[int]:
    return list(data)


def of_nibbles(data: bytes, n: int) -> list[int]:
    m = -(-n // 2)
    assert len(data) == 2 * m
    upper = [part for byte in data[:m] for part in (byte & 15, byte >> 4)]
    lower = [part for byte in data[m:] for part in (byte & 15, byte >> 4)]
    return [u * 16 + v for u, v in zip(upper, lower, strict=True)]


def of_planes(data: bytes, n: int) -> list[int]:
    m = -(-n // 8)
    assert len(data) == 8 * m
    return [sum((data[(7 - p) * m + i // 8] >> i % 8 & 1) << p for p in range(8)) for i in range(n)]


def of_rice(data: bytes, n: int) -> list[int]:
    w = -(-n // 64)
    lengths = [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(3)]
    nibbles = [part for byte in data[12 : 12 + w] for part in (byte & 15, byte >> 4)]
    low_planes = [8 if nibble == 8 else max(0, nibble - 1) for nibble in nibbles]
    has_quotients = [0 < nibble < 8 for nibble in nibbles]
    at = 12 + w
    values, quotients = [0] * (64 * w), [0] * (64 * w)
    for group in (g for g in range(2 * w) if has_quotients[g]):
        for j in range(32):
            quotients[32 * group + j] = data[at + j // 8] >> j % 8 & 1
        at += 4
    for group, k in enumerate(low_planes):
        for lane in range(4):
            for p in range(k):
                for j in range(8):
                    values[32 * group + 8 * lane + j] |= (data[at] >> j & 1) << p
                at += 1
    for step in (1, 2):
        passed = [i for i, q in enumerate(quotients) if q == step]
        assert len(passed) == lengths[step - 1]
        for number, i in enumerate(passed):
            quotients[i] += data[at + number // 8] >> number % 8 & 1
        at += -(-len(passed) // 8)
    passed = [i for i, q in enumerate(quotients) if q == 3]
    assert len(passed) == lengths[2]
    section = -(-len(passed) // 8)
    for number, i in enumerate(passed):
        quotients[i] += (data[at + number // 8] >> number % 8 & 1) + 2 * (
            data[at + section + number // 8] >> number % 8 & 1
        )
    assert at + 2 * section == len(data)
    return [value | q << low_planes[i // 32] for i, (value, q) in enumerate(zip(values, quotients, strict=True))]
