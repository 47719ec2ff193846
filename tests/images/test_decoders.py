"""Which files are images, which decoder they need, and that neither depends on what else is installed."""

import json
import random
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import apply, encoded, gradient
from PIL import Image

from ferdata.images.decode import DecoderMissingError
from ferdata.images.formats import is_decoder_missing, recognise
from ferdata.images.transform import ImageCorruptError, ImageTooLargeError, ImageUnsupportedError

TESTS = Path(__file__).parents[1]
STRIPPED = "import sys; sys.modules['PIL._webp'] = sys.modules['PIL._avif'] = None\nfrom PIL import Image\n" + "".join(
    f"vars(Image.core).pop('{name}', None)\n"
    for name in ("jpeg2k_decoder", "jpeg2k_encoder", "libtiff_decoder", "libtiff_encoder")
)
"""Takes from Pillow what a build without the libraries' headers lacks."""

RARE = {
    "webp": ("WEBP", {}),
    "webp_anim": ("WEBP", {"save_all": True}),
    "avif": ("AVIF", {}),
    "jp2": ("JPEG2000", {}),
    "j2k": ("JPEG2000", {"no_jp2": True}),
    "tiff_lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff_deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff_jpeg": ("TIFF", {"compression": "jpeg"}),
    "tiff_packbits": ("TIFF", {"compression": "packbits"}),
}
COMMON = {"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "dib": "DIB", "ppm": "PPM", "tiff": "TIFF"}


def rare(name: str) -> bytes:
    format_name, options = RARE[name]
    try:
        return encoded(gradient(), format_name, **options)
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow cannot write {name}: {error}")


def in_child(prelude: str, files: list[bytes], folder: Path) -> list[list[str]]:
    """Return what a process of its own makes of files: ``[reason, text]`` or ``["", digest of the pixels]`` each."""
    paths = []
    for number, data in enumerate(files):
        paths.append(folder / f"{number}.bin")
        paths[-1].write_bytes(data)
    script = prelude + textwrap.dedent("""
        import hashlib, json, sys
        sys.path.insert(0, sys.argv[1])
        from pictures import apply
        from ferdata.images.transform import ImageRejectedError
        found = []
        for path in sys.argv[2:]:
            try:
                found.append(["", hashlib.sha256(apply(open(path, "rb").read()).pixels.tobytes()).hexdigest()])
            except ImageRejectedError as error:
                found.append([error.reason, str(error)])
        print(json.dumps(found))
    """)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(TESTS), *map(str, paths)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", RARE)
def test_a_decoder_that_this_pillow_lacks_is_a_reason_of_its_own(name: str, tmp_path: Path) -> None:
    """The image is sound; called corrupt, it would be copied again and again."""
    data = rare(name)

    [[reason, text]] = in_child(STRIPPED, [data], tmp_path)

    assert reason == "decoder_missing"
    assert text.startswith(f"a.jpg: {recognise(data).name}") and "pip install" in text and "corrupt" not in text


def test_what_needs_no_library_is_decoded_by_every_pillow(tmp_path: Path) -> None:
    """Plain TIFF needs no libtiff."""
    files = [encoded(gradient(), format_name) for format_name in COMMON.values()]

    assert in_child(STRIPPED, files, tmp_path) == in_child("", files, tmp_path)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf" + bytes(40), "HEIC"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
    ],
)
def test_formats_that_no_pillow_decodes_say_so(data: bytes, name: str) -> None:
    """A phone's photographs are no damage, and no package that could be installed would help."""
    with pytest.raises(
        DecoderMissingError, match=rf"a\.jpg: {name} found, which no Pillow decodes; convert it to PNG or JPEG"
    ):
        apply(data)


@pytest.mark.parametrize("name", RARE)
def test_a_damaged_file_is_damage_where_the_decoder_is_there(name: str) -> None:
    """Else a cut file would send people to install what they have."""
    data = rare(name)
    assert not is_decoder_missing(data, recognise(data), has_failed=True)

    with pytest.raises(ImageCorruptError):
        apply(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("compression", ["zstd", "webp", "lzma"])
def test_a_tiff_whose_compression_libtiff_lacks_is_no_damage(compression: str) -> None:
    """libtiff is built with some and without others; only trying tells."""
    number = {"zstd": 50000, "webp": 50001, "lzma": 34925}[compression]
    entries = [
        (256, 3, 1, 8),
        (257, 3, 1, 8),
        (258, 3, 1, 8),
        (259, 3, 1, number),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 3, 1, 8),
        (279, 4, 1, 8),
    ]
    head = b"II*\0" + struct.pack("<I", 16) + b"notdata!" + struct.pack("<H", len(entries))
    data = head + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    code = f"Image.new('RGB', (16, 16)).save(io.BytesIO(), 'TIFF', compression={compression!r})"
    tried = subprocess.run([sys.executable, "-c", f"import io\nfrom PIL import Image\n{code}"], check=False)
    expected = DecoderMissingError if tried.returncode else ImageCorruptError

    with pytest.raises(expected):
        apply(data)


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4096),
        b"\xd7\xcd\xc6\x9a" + bytes(60),
        b"\0\0\1\0\1\0" + bytes(60),
        b"8BPS\0\1" + bytes(60),
        b"\x0a\x05\x01\x08" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"BMW and Porsche: a text of cars",
        b"P2 is the second of them",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypisom\0\0\0\0isomavc1",
    ],
    ids=["eps", "fpx", "wmf", "ico", "psd", "pcx", "svg", "text BM", "text P2", "wav", "mp4"],
)
def test_the_list_of_formats_is_closed(data: bytes) -> None:
    """Others of Pillow's decoders start programs, or take gigabytes for a few bytes."""
    assert recognise(data) is None
    with pytest.raises(ImageCorruptError, match=r"bytes that start with .* found, expected an image"):
        apply(data)


@pytest.mark.parametrize("format_name", COMMON.values())
def test_a_file_is_recognised_by_its_first_bytes(format_name: str) -> None:
    """Whatever its name is."""
    found = recognise(encoded(gradient(), format_name)[:64])

    assert found is not None and found.plugin == format_name


def jpegs() -> list[bytes]:
    """Whole, cut, overwritten and odd JPEGs, the same in every run."""
    draw = random.Random(7)
    noise = np.random.default_rng(3).normal(0, 10, (61, 83, 3))
    picture = Image.fromarray(np.clip(np.asarray(gradient(83, 61)) + noise, 0, 255).astype(np.uint8))
    variants = [
        encoded(image, "JPEG", quality=quality, progressive=progressive, subsampling=subsampling, **rows)
        for image in (picture, picture.convert("L"), picture.convert("CMYK"))
        for quality, progressive, subsampling, rows in (
            (90, False, 0, {}),
            (75, True, 2, {}),
            (60, False, 1, {"restart_marker_blocks": 4}),
            (90, True, 0, {"restart_marker_rows": 1}),
        )
    ]
    files = list(variants)
    for data in variants:
        scan = data.index(b"\xff\xda")
        files += [
            data[: (scan + len(data)) // 2] + b"\xff\xd9",
            data + b"tail",
            data[:-2] + bytes(9) + data[-2:],
            data[:-40],
        ]
        for _ in range(12):
            damaged = bytearray(data)
            for _ in range(draw.choice((1, 1, 3))):
                damaged[draw.randrange(scan, len(data) - 2)] = draw.randrange(256)
            files.append(bytes(damaged))
    plain = variants[0]
    for segment in (
        b"\xff\xee\0\x08Adobe\0",
        b"\xff\xe0\0\x06JFIF",
        b"\xff\xe1\0\x0aExif\0\0II",
        b"\xff\xed\0\x10Photoshop 3.0\0",
        b"\xff\xfe\0\x02",
    ):
        files.append(plain[:2] + segment + plain[2:])
    return files


def test_no_library_changes_what_is_accepted_nor_a_pixel(tmp_path: Path) -> None:
    """Pillow fills in what a JPEG lacks and says nothing; with and without simplejpeg, the same files are damaged."""
    pytest.importorskip("simplejpeg")
    files = jpegs()

    without = in_child("import sys; sys.modules['simplejpeg'] = None\n", files, tmp_path)
    found = in_child("", files, tmp_path)

    assert [pair[0] for pair in found] == [pair[0] for pair in without]
    assert found == without
    assert 40 < sum(pair[0] == "image_corrupt" for pair in found) < len(files) - 40


@pytest.mark.parametrize(
    ("offset", "value", "text"),
    [(4, 12, "12 bits"), (1, 0xC3, "lossless or hierarchical"), (1, 0xC5, "lossless or hierarchical")],
)
def test_jpegs_that_some_builds_decode_are_accepted_by_none(offset: int, value: int, text: str) -> None:
    """libjpeg-turbo 3 reads some of them and 2 does not; which one Pillow holds must not show."""
    data = bytearray(encoded(gradient(24, 24), "JPEG"))
    data[data.index(b"\xff\xc0") + offset] = value

    with pytest.raises(
        ImageUnsupportedError, match=rf"a\.jpg: a JPEG with {text}.* found, expected a baseline or progressive"
    ):
        apply(bytes(data))


def test_a_png_as_xcode_packs_it_is_no_damage() -> None:
    """Its pixels are in another order, and no copy of it would be better."""
    data = encoded(gradient(), "PNG")

    with pytest.raises(ImageUnsupportedError, match="CgBI"):
        apply(data[:8] + b"\0\0\0\4CgBI\x50\0\x20\2" + struct.pack(">I", zlib.crc32(b"CgBI\x50\0\x20\2")) + data[8:])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize(
    "head",
    [b"iCCPprofile\0\0", b"zTXtComment\0\0", b"iTXtXML:com.adobe.xmp\0\1\0\0\0", b"zTXtRaw profile type exif\0\0"],
)
def test_a_remark_that_inflates_to_gigabytes_costs_neither_memory_nor_the_picture(head: bytes) -> None:
    """Profiles and texts change no pixel, so they are not read."""
    data = encoded(gradient(24, 24), "PNG")
    packed = zlib.compress(bytes(1 << 26))

    result = apply(data[:33] + chunk(head[:4], head[4:] + packed) + data[33:])

    assert np.array_equal(result.pixels, apply(data).pixels)


@pytest.mark.parametrize("where", ["eXIf", "raw profile", "xmp"])
def test_every_way_to_state_an_orientation_counts_in_every_pillow(where: str) -> None:
    """Older versions of Pillow do not look for some of them."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    png, jpeg = encoded(gradient(24, 24), "PNG"), encoded(gradient(24, 24), "JPEG")
    remark = {
        "eXIf": chunk(b"eXIf", exif[6:]),
        "raw profile": chunk(
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n%s\n" % (len(exif), exif.hex().encode())),
        ),
        "xmp": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    }[where]

    assert "exif_rotated" in apply(png[:33] + remark + png[33:]).repairs
    block = b"http://ns.adobe.com/xap/1.0/\0" + xmp if where == "xmp" else exif
    assert (
        "exif_rotated" in apply(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]).repairs
    )


def tiff(*entries: tuple[int, int, int, int]) -> bytes:
    plain = {
        256: (3, 1, 8),
        257: (3, 1, 8),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        279: (4, 1, 64),
    }
    plain |= {tag: rest for tag, *rest in entries}  # type: ignore[misc]
    table = b"".join(struct.pack("<HHII", tag, *plain[tag]) for tag in sorted(plain))
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + struct.pack("<H", len(plain)) + table + bytes(4)


@pytest.mark.parametrize(
    "data",
    [
        tiff((322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 8), (325, 4, 1, 64)),
        tiff((256, 4, 1, 60_000), (257, 4, 1, 60_000)),
        tiff((273, 4, 1 << 21, 8)) + bytes(1 << 23),
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1 << 40) + bytes(1 << 17),
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\x3f\0\xff\x3f\0" + bytes(60),
        b"RIFF\x40\0\0\0WEBPVP8L\x20\0\0\0\x2f\xff\xff\xff\x0f" + bytes(60),
    ],
    ids=["tile", "picture", "tag count", "entries", "webp canvas", "webp lossless"],
)
def test_a_header_that_promises_gigabytes_is_refused_before_pillow_reads_it(data: bytes) -> None:
    """Pillow makes memory for these before it says how large the picture is."""
    if is_decoder_missing(data, recognise(data)):
        pytest.skip("this Pillow does not decode it")
    with pytest.raises(ImageTooLargeError, match=r"a\.jpg: .* found, expected at most"):
        apply(data)


def test_a_damaged_remark_of_a_tiff_does_not_cost_the_picture() -> None:
    """A count that the file is too small for promises nothing."""
    assert apply(tiff((40_000, 4, 1 << 30, 8))).pixels.shape == (3, 24, 24)


def test_a_tiff_whose_strips_end_early_is_rejected() -> None:
    """Pillow leaves the rest black and says nothing."""
    with pytest.raises(ImageCorruptError, match="its strips end at row 8 of 4,096"):
        apply(tiff((257, 3, 1, 4096), (278, 3, 1, 8)))


def test_a_picture_of_thousands_of_scans_is_refused() -> None:
    """Each one goes over the whole picture: a megabyte of them would take an hour."""
    data = encoded(gradient(24, 24), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")

    with pytest.raises(ImageCorruptError, match="scans found, expected at most 100"):
        apply(data[:-2] + data[last:-2] * 200 + data[-2:])


def shard(source: Path, out: Path, prelude: str, *more: str) -> subprocess.CompletedProcess[str]:
    script = prelude + "from ferdata.console import main\nsys.argv[0] = 'ferdata'\nmain()"
    arguments = ["shard", "folder", "--src", str(source), "--out", str(out), "--size", "24", "--workers", "1", *more]
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=TESTS.parent)


def make_source(root: Path, *, undecoded: int, decoded: int) -> Path:
    (root / "train/happy").mkdir(parents=True)
    for number in range(undecoded + decoded):
        data = rare("tiff_lzw") if number < undecoded else encoded(gradient(24, 24), "JPEG", quality=50 + number)
        (root / f"train/happy/{number}.{'tif' if number < undecoded else 'jpg'}").write_bytes(data)
    return root


def test_a_source_that_mostly_needs_a_missing_decoder_stops_before_it_is_converted(tmp_path: Path) -> None:
    """An hour later it would be a data set of the few images that were left."""
    run = shard(make_source(tmp_path / "src", undecoded=8, decoded=4), tmp_path / "out", STRIPPED)

    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "8 of 12 images looked at need a decoder that is missing" in " ".join((run.stdout + run.stderr).split())
    assert not (tmp_path / "out/index.json").exists()


def test_images_without_a_decoder_are_counted_and_the_way_back_is_said(tmp_path: Path) -> None:
    """Each is a row of rejects.csv, and a note names the command that takes them in."""
    run = shard(make_source(tmp_path / "src", undecoded=2, decoded=10), tmp_path / "out", STRIPPED)

    text = " ".join(run.stdout.split())
    assert run.returncode == 0 and "decoder_missing 2" in text
    assert "2 images need a decoder that is not installed" in text and "write the data set again with --fresh" in text


def test_a_finished_data_set_is_not_called_done_once_the_decoder_is_there(tmp_path: Path) -> None:
    """The same command that left images out would else say that there is nothing to do."""
    source, out = make_source(tmp_path / "src", undecoded=2, decoded=10), tmp_path / "out"

    assert shard(source, out, STRIPPED).returncode == 0
    assert shard(source, out, STRIPPED).returncode == 0
    refused = shard(source, out, "import sys\n")
    again = shard(source, out, "import sys\n", "--fresh")

    assert refused.returncode == 1 and "found without 2 images that were rejected when it was made" in refused.stderr
    assert again.returncode == 0 and "12 of 12 rows" in again.stdout
