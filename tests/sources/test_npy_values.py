"""AffectNet's annotation files: scores, landmarks, and the pool that reads them."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from trees import (
    npy_bytes,
    npy_tree,
    points,
)

from ferdata.errors import WorkerError
from ferdata.parallel import read_in_order
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.affectnet_npy.npy_values import KINDS, index_annotations, parse_npy, read_annotations
from ferdata.store import Store


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("affectnet", str(root), ScanOptions(num_workers=1, **options))


def annotation(root: Path, image_id: int, kind: str) -> Path:
    return root / f"train_set/annotations/{image_id}_{kind}.npy"


def test_a_pipe_for_a_label_file_is_a_corrupt_label(tmp_path: Path) -> None:
    """Nobody writes to it, so to wait for it would hold up the scan for ever."""
    npy_tree(tmp_path)
    annotation(tmp_path, 3, "exp").unlink()
    os.mkfifo(annotation(tmp_path, 3, "exp"))
    scans: list[Scan] = []

    thread = threading.Thread(target=lambda: scans.append(scanned(tmp_path)), daemon=True)
    thread.start()
    thread.join(20)

    assert [(reject.path, reject.reason) for reject in scans[0].rejects] == [
        ("train_set/images/3.jpg", "label_corrupt")
    ]


@pytest.mark.parametrize(
    ("value", "expected", "is_invalid"),
    [
        (np.array("-0.176846"), -0.176846, False),
        (np.array("1"), 1.0, False),
        (np.array("-1.0"), -1.0, False),
        (np.array(0.25), 0.25, False),
        (np.array([0.25], np.float16), 0.25, False),
        (np.array(b"0.5"), 0.5, False),
        (np.array("-2"), None, False),
        (np.array(-2.0), None, False),
        (np.array("-1.5"), None, False),
        (np.array("-1.49"), None, True),
        (np.array("1.01"), None, True),
        (np.array("2"), None, True),
        (np.array(""), None, True),
        (np.array("high"), None, True),
        (np.array(math.nan), None, True),
        (np.array(-math.inf), None, True),
        (np.array([0.1, 0.2]), None, True),
    ],
)
@pytest.mark.parametrize(("kind", "name"), [("val", "valence"), ("aro", "arousal")])
def test_valence_and_arousal_are_numbers_or_missing(
    tmp_path: Path, kind: str, name: str, value: np.ndarray, expected: float | None, is_invalid: bool
) -> None:
    """-2 means missing and must never be clipped to -1; all else outside [-1, 1] is missing and counted."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, kind).write_bytes(npy_bytes(value))

    found = scanned(tmp_path)

    assert getattr(found.items[5], name) == expected
    assert found.repairs == ({"va_invalid": 1} if is_invalid else {})
    assert len(found.items) == 24


@pytest.mark.parametrize("kind", ["val", "aro", "lnd"])
@pytest.mark.parametrize("data", [None, b"", npy_bytes(np.array(["0.1"], dtype=object), allow_pickle=True)])
def test_other_annotation_files_may_be_missing_or_broken(tmp_path: Path, kind: str, data: bytes | None) -> None:
    """The image and its label can still be used."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, kind).unlink() if data is None else annotation(tmp_path, 5, kind).write_bytes(data)

    found = scanned(tmp_path)

    item = found.items[5]
    assert getattr(item, {"val": "valence", "aro": "arousal", "lnd": "landmarks"}[kind]) is None
    assert (item.key, item.label, len(found.items), found.rejects) == ("train_5", 5, 24, [])


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        (np.array(points(5), np.float32), True),
        (np.array(points(5)).reshape(68, 2), True),
        (np.array([str(value) for value in points(5)]), True),
        (np.array(points(5)[:-1]), False),
        (np.array([math.nan, *points(5)[1:]]), False),
        (np.array(["x"] * 136), False),
        (np.array(1.0), False),
    ],
)
def test_landmarks_are_136_numbers_or_missing(tmp_path: Path, value: np.ndarray, is_kept: bool) -> None:
    """Anything else is left out and the image stays."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, "lnd").write_bytes(npy_bytes(value))

    assert scanned(tmp_path).items[5].landmarks == (points(5) if is_kept else None)


NUMBERS = np.array(points(5)).reshape(68, 2)


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        (np.asfortranarray(NUMBERS), True),
        (np.asfortranarray(NUMBERS, np.float32), True),
        (NUMBERS.T, True),
        (np.ascontiguousarray(NUMBERS.T), True),
        (NUMBERS.reshape(1, 136), True),
        (NUMBERS.reshape(136, 1), True),
        (NUMBERS[None], True),
        (np.asfortranarray(NUMBERS[:, None]), True),
        (NUMBERS.T[None].copy(), True),
        (NUMBERS.astype(">f8"), True),
        (np.asfortranarray(NUMBERS.astype(">f4")), True),
        (NUMBERS.astype("U8"), True),
        (NUMBERS.reshape(4, 34), False),
        (NUMBERS.reshape(34, 2, 2), False),
        (NUMBERS.astype(complex), False),
        (NUMBERS * 1e300, False),
        (NUMBERS.astype("M8[s]"), False),
        (np.zeros((68, 2), [("x", "f4")]), False),
    ],
)
def test_landmarks_of_any_order_and_shape_give_x_and_y_in_turn_or_are_missing(
    tmp_path: Path, value: np.ndarray, is_kept: bool
) -> None:
    """Taken as they lie in the file, x and y would be mixed without a word."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, "lnd").write_bytes(npy_bytes(value))

    found = scanned(tmp_path)

    assert found.items[5].landmarks == (points(5) if is_kept else None)
    assert found.repairs == ({} if is_kept else {"landmarks_missing": 1})


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "value", [np.array("3"), np.array(["3"], ">U4"), np.array([[3]], ">i8"), np.array([[[3.0]]], ">f4"), np.array(b"3")]
)
def test_labels_of_any_type_order_and_version_are_numbers(
    tmp_path: Path, version: tuple[int, int], value: np.ndarray
) -> None:
    """Users save the files again with what they have."""
    npy_tree(tmp_path)
    with annotation(tmp_path, 5, "exp").open("wb") as file:
        np.lib.format.write_array(file, value, version=version)

    assert scanned(tmp_path).items[5].label == 3


def header(text: str, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes((version, 0)) + len(text).to_bytes(2 if version == 1 else 4, "little") + text.encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy_bytes(np.array("3")).replace(b"False", b"Fclse"), "broken .npy header"),
        (npy_bytes(np.array("3")).replace(b"False", b"print"), "broken .npy header"),
        (header("[" * 2000), "broken .npy header"),
        (
            header("{'descr': '<U1', 'fortran_order': False, 'shape': (1000000000, 1000000000), }\n"),
            "bytes found, expected",
        ),
        (header("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999999,), }\n"), "of 0 bytes each found"),
        (header("{'descr': '<U1', 'fortran_order': False, 'shape': (-1,), }\n"), "expected values"),
        (
            header("{'descr': '|O', 'fortran_order': False, 'shape': (), }\n") + b"cos\nsystem\n",
            "pickled objects found",
        ),
        (header(" " * 60000), "header of 60,010 bytes found"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"x" * 99, "header of 4,294,967,307 bytes found"),
        (npy_bytes(np.array(["1", "2"])), "2 values found, expected one"),
    ],
)
def test_a_forged_or_damaged_label_is_one_reject_with_the_same_text_anywhere(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    """An address or a folder's name in the text would give other bytes for the same source, and end a resume."""
    details = []
    for folder in ("one", "another"):
        npy_tree(tmp_path / folder)
        annotation(tmp_path / folder, 5, "exp").write_bytes(data)
        details += [(reject.reason, reject.detail) for reject in scanned(tmp_path / folder).rejects]

    assert details[0] == details[1]
    assert details[0][0] == "label_corrupt"
    assert reason in details[0][1]
    assert " at 0x" not in details[0][1]


def test_a_label_that_cannot_be_opened_is_told_without_its_place(tmp_path: Path) -> None:
    """The reject names the image already; where the source lies is no part of it."""
    npy_tree(tmp_path)
    annotation(tmp_path, 5, "exp").unlink()
    annotation(tmp_path, 5, "exp").symlink_to("nowhere")

    assert [reject.detail for reject in scanned(tmp_path).rejects] == ["5_exp.npy: No such file or directory"]


def test_a_pool_reads_the_same_annotations_in_the_same_order(tmp_path: Path) -> None:
    """From about 8,000 images on, processes share the work; nothing else may change."""
    npy_tree(tmp_path, train=range(12), val=())
    annotation(tmp_path, 3, "exp").write_bytes(b"")
    annotation(tmp_path, 4, "lnd").unlink()
    store = Store(str(tmp_path))
    index = index_annotations(store, dict.fromkeys(KINDS, "train_set/annotations"))
    stems = [str(i % 12) for i in range(9000)]

    alone, pooled = (list(read_annotations(store, index, stems, num_workers)) for num_workers in (1, 2))

    assert len(pooled) == len(stems)
    for one, two in zip(alone, pooled, strict=True):
        assert (one.label, one.valence, one.arousal, one.error) == (two.label, two.valence, two.arousal, two.error)
        assert (one.landmarks is None) == (two.landmarks is None)
        assert one.landmarks is None or (two.landmarks is not None and np.array_equal(one.landmarks, two.landmarks))


def die(store: Store, job: int) -> int:
    if job == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_killed_reader_is_an_error_and_no_hang(tmp_path: Path) -> None:
    """The kernel kills processes when memory runs out."""
    with pytest.raises(WorkerError, match="a worker process was killed, expected it to live"):
        list(read_in_order(Store(str(tmp_path)), die, range(20), num_jobs=20, num_workers=2))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_readers_leave_when_their_parent_is_killed(tmp_path: Path) -> None:
    """A run that is killed must not leave processes behind that wait for ever."""
    program = textwrap.dedent("""
        import os, sys, time
        from ferdata.parallel import read_in_order
        from ferdata.store import Store

        def work(store, job):
            time.sleep(0.05)
            return os.getpid()

        for pid in read_in_order(Store(sys.argv[1]), work, range(10_000), num_jobs=10_000, num_workers=2):
            print(pid, flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        readers = {int(parent.stdout.readline()) for _ in range(6)}
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 10
        while any(is_running(pid) for pid in readers):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert readers


def test_parse_npy_agrees_with_numpy(tmp_path: Path) -> None:
    """The fast parser is only a short cut."""
    for value in (
        np.array("7"),
        np.array(-0.5),
        np.array([4], np.int64),
        np.arange(136.0),
        np.float32(0.1),
        np.zeros((0,)),
    ):
        path = tmp_path / "value.npy"
        np.save(path, value)
        loaded = np.load(path, allow_pickle=False)

        parsed = parse_npy(path.read_bytes())

        assert (
            np.array_equal(parsed, loaded) if isinstance(parsed, np.ndarray) else parsed == str(loaded.reshape(-1)[0])
        )
