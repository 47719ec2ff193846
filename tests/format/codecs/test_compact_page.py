"""FORMAT.md's section on ``compact``: its example is recomputed, and a reader made from it reads what we write."""

import re
from pathlib import Path

import numpy as np
import pytest

import ferdata.format
from ferdata.format.codecs.compact import PixelCoder
from ferdata.format.codecs.compact.member import member_header

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
    coder = PixelCoder(SHAPE, compiled=compiled)
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
    np.testing.assert_array_equal(line("residuals").reshape(SHAPE), planes - predictions(planes))
    np.testing.assert_array_equal(
        line("folded"), [2 * r if r < 128 else 511 - 2 * r for r in map(int, line("residuals"))]
    )


def test_a_reader_made_from_the_page_reads_what_we_write() -> None:
    """The page must do without our code, for smooth pictures, noise and constants of odd sizes."""
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
            stored = PixelCoder(shape).encode(pixels).tobytes()
            np.testing.assert_array_equal(read(stored, shape), pixels)


def test_the_header_is_the_one_on_the_page() -> None:
    """A member says its shape with it."""
    magic, text = (
        re.search(r"is `([0-9a-f ]{20})` \(`PIXELS`\)", SECTION),
        re.search(r'JSON `(\{"shape.+?\})`', SECTION),
    )
    assert magic and text
    assert member_header((3, 224, 224)) == (bytes.fromhex(magic[1]) + b"\x02" + text[1].encode()).ljust(127) + b"\n"


def read(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Undo a payload as the page says, one value at a time."""
    n = shape[0] * shape[1] * shape[2]
    residuals = np.array([f // 2 if f % 2 == 0 else 255 - f // 2 for f in of_rice(data, n)[:n]], np.uint8)
    residuals = residuals.reshape(shape)
    planes = np.zeros(shape, np.uint8)
    for y in range(shape[1]):
        for x in range(shape[2]):
            planes[:, y, x] = residuals[:, y, x] + predictions(planes)[:, y, x]
    if shape[0] >= 3:
        first, second, third = planes[:3].copy()
        planes[:3] = second + first, first, third + first
    return planes


def predictions(planes: np.ndarray) -> np.ndarray:
    """Return the prediction of every pixel from its neighbours."""
    out = np.zeros(planes.shape, np.int64)
    values = planes.astype(np.int64)
    for c, y, x in np.ndindex(planes.shape):
        left, above, corner = values[c, y, x - 1], values[c, y - 1, x], values[c, y - 1, x - 1]
        if y == 0 or x == 0:
            out[c, y, x] = 0 if y == x == 0 else left if y == 0 else above
        else:
            out[c, y, x] = left + above - corner
    return (out % 256).astype(np.uint8)


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
