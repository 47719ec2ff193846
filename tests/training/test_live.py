"""Live: pictures as they come, on a real page, from files, servers and what OpenCV opens; nothing lags or is left."""

import contextlib
import gc
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from train_helpers import untrained_run
from verbs import refusal, run_verb
from webserver import serve

import ferdata
from ferdata.errors import OptionError
from ferdata.synth import draw_film
from ferdata.training.prediction.cameras import Camera, Recording
from ferdata.training.prediction.detector import Detector
from ferdata.training.prediction.frames import Video, writing
from ferdata.training.prediction.handover import Latest
from ferdata.training.prediction.live import LiveView
from ferdata.training.prediction.tracks import RunningMeans, smooth

ROOT = Path(__file__).parents[2]
SIZE, FPS, NUM_FRAMES = (320, 240), 10, 60
BOX = np.array([0x2F, 0x6F, 0xDE])
"""The colour of the first face's box."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("run"), "Happy", "Sad")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of a face."""
    return write_film(tmp_path_factory.mktemp("clip") / "clip.mp4", NUM_FRAMES)


def write_film(path: Path, num_frames: int) -> Path:
    with writing(str(path), SIZE) as write:
        for frame in draw_film([1, 3], 2, size=SIZE, frames_per_second=FPS, seconds_each=num_frames / FPS / 2):
            write(frame.image, frame.seconds)
    return path


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread outlives what started it, and no detector is garbage, whose end in a forked worker would never come."""
    before = set(threading.enumerate())
    gc.collect()
    gc.disable()
    try:
        yield
        assert not [one for one in gc.get_objects() if type(one) is Detector]
    finally:
        gc.enable()
    assert set(threading.enumerate()) <= before


def live(runs: list[Path], source: object, **settings: object) -> LiveView:
    return ferdata.predict_live(ferdata.PredictOptions(runs=runs, source=source, port=0, device="cpu", **settings))


def pictures_of(address: str, number: int) -> list[Image.Image]:
    """Read some pictures of a stream as browsers do: by the boundary that its head names."""
    found = []
    with urlopen(f"{address}stream", timeout=30) as answer:
        boundary = answer.headers.get_param("boundary")
        assert answer.headers.get_content_type() == "multipart/x-mixed-replace"
        for _ in range(number):
            assert answer.readline() == f"--{boundary}\r\n".encode()
            headers = http.client.parse_headers(answer)
            assert headers["Content-Type"] == "image/jpeg"
            found.append(Image.open(io.BytesIO(answer.read(int(headers["Content-Length"])))))
            assert answer.readline() == b"\r\n"
    return found


def in_box_colour(image: Image.Image) -> int:
    return int((np.abs(np.asarray(image.convert("RGB"), int) - BOX).max(2) < 30).sum())


def test_a_video_is_shown_live(run: Path, clip: Path) -> None:
    """Over HTTP: a page, its stream with box, label and bars drawn in, the newest picture alone, and figures."""
    with live([run], clip) as view:
        with urlopen(view.address) as answer:
            page = answer.read().decode()
        pictures = pictures_of(view.address, 3)
        with urlopen(f"{view.address}frame.jpg") as answer:
            alone = Image.open(io.BytesIO(answer.read()))
        with urlopen(f"{view.address}figures") as answer:
            told = json.load(answer)
        with pytest.raises(OSError, match="404"):
            urlopen(f"{view.address}gone")
    figures = view.figures()

    assert set(re.findall(r'"(/\w*)"', page)) == {"/stream", "/figures"} and str(clip) in page
    plain = [in_box_colour(frame.image) for frame in Video(str(clip))]
    for picture in [*pictures, alone]:
        assert picture.size == SIZE and in_box_colour(picture) > max(plain) + 200
    assert told["source"] == str(clip) and sorted(told["milliseconds"]) == [
        "decode", "detect", "draw", "encode", "network",
    ]  # fmt: skip
    assert 3 <= figures.num_shown <= figures.num_taken and figures.num_with_face >= 0.95 * figures.num_shown
    assert sum(figures.labels.values()) == figures.num_with_face
    assert all(took > 0 for took in figures.milliseconds.values())
    assert 0 < figures.latency_milliseconds <= figures.longest_latency_milliseconds


@pytest.mark.parametrize(("vote", "label"), [(False, "Sad"), (True, "Happy")])
def test_a_video_is_played_to_its_end(tmp_path: Path, vote: bool, label: str) -> None:
    """Every frame comes, and the last one is shown whatever was left out. Here by three runs."""
    runs = [untrained_run(tmp_path, "Happy", "Sad", seed=seed) for seed in (0, 2, 5)]
    with live(runs, write_film(tmp_path / "short.mp4", 8), vote=vote) as view:
        view.wait()
        assert in_box_colour(pictures_of(view.address, 1)[0]) > 200
    assert view.figures().num_taken == 8 and set(view.figures().labels) == {label}


def test_a_frame_comes_when_its_time_has_come(clip: Path) -> None:
    """Not before, however fast frames are decoded: a video is played at its rate."""
    began = time.perf_counter()
    for frame, _ in islice(Recording(str(clip)).frames(threading.Event()), 5):
        assert frame.seconds == pytest.approx(frame.number / FPS, abs=0.002)
        assert time.perf_counter() - began >= frame.seconds


def test_what_is_missing_is_told_before_a_page_is_there(run: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread would keep the program from ending."""
    for module in ("faces", "detector"):
        monkeypatch.delitem(sys.modules, f"ferdata.training.prediction.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(OptionError, match=r"pip install 'ferdata\[video\]'"):
        live([run], clip)


def test_another_page_cannot_look(run: Path, clip: Path) -> None:
    """One whose name leads to this machine is refused; and an end in the middle of a stream ends it."""
    with live([run], clip) as view:
        place = view.address.removeprefix("http://").strip("/")
        connection = http.client.HTTPConnection(place, timeout=30)
        connection.request("GET", "/frame.jpg", headers={"Host": "elsewhere.example"})
        assert connection.getresponse().status == 403
        connection.close()
        stream = urlopen(f"{view.address}stream", timeout=30)
        assert stream.readline() == b"--picture\r\n"
    with stream:
        assert stream.read().endswith(b"--picture--\r\n")
    with pytest.raises(OSError, match="refused"):
        urlopen(view.address)


def test_a_stream_is_shown_as_it_comes(run: Path, clip: Path, tmp_path: Path) -> None:
    """One live page's pictures are another one's source: neither has a length, so nothing is waited for."""
    with (
        serve(clip.parent) as server,
        live([run], f"{server.url}/{clip.name}") as first,
        live([run], f"{first.address}stream", faces=True, smoothing=0) as second,
    ):
        assert len(pictures_of(second.address, 2)) == 2
    assert first.figures().num_shown > 1
    assert 2 <= second.figures().num_with_face <= second.figures().num_shown <= second.figures().num_taken


def test_ctrl_c_ends_it(run: Path, clip: Path, tmp_path: Path) -> None:
    """The usual way: figures are written and told, and the exit code is that of success."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    command = [sys.executable, "-m", "ferdata", "predict", run, clip, "--live", "--port", port, "--json", "t.json"]
    with subprocess.Popen(
        list(map(str, command)),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for _ in range(1200):
            with contextlib.suppress(OSError):
                urlopen(f"http://127.0.0.1:{port}/frame.jpg", timeout=30).close()
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=120)[0]
        assert process.returncode == 0, printed

    told = json.loads((tmp_path / "t.json").read_text())
    assert 1 <= told["num_shown"] <= told["num_taken"] <= NUM_FRAMES
    assert f"http://127.0.0.1:{port}/ shows {clip}; Ctrl-C ends it" in printed.replace("\n", "")
    assert f"{told['num_shown']} of {told['num_taken']} pictures shown, " in printed


def test_what_cannot_be_shown_is_refused(run: Path, clip: Path, tmp_path: Path) -> None:
    """In a line that says what to do; without an input it is a camera."""
    assert re.match(r"camera:97: no camera found there.*, expected one that .*; plug one in, name another", refusal(
        "predict", run, "camera:97", "--live"
    ))  # fmt: skip
    assert "Connection refused, expected camera, camera:1, a video, or the address of a stream" in refusal(
        "predict", run, "http://127.0.0.1:9/x", "--live"
    )
    assert "--out: t.csv found beside --live, expected none" in refusal(
        "predict", run, clip, "--live", "--out", "t.csv"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port: {port} found, where 127.0.0.1 cannot be listened at" in refusal(
            "predict", run, clip, "--live", "--port", port
        )
    assert "found alone, expected a run and an image" in run_verb("predict", run, code=2)
    (tmp_path / "hurt.mp4").write_bytes(clip.read_bytes()[:5000])
    assert "expected camera, camera:1, a video" in refusal("predict", run, tmp_path / "hurt.mp4", "--live")
    gc.collect()  # what a test runner keeps of an error holds the error, and that what it came from


def test_a_camera_is_read_by_opencv(run: Path, clip: Path) -> None:
    """The same colours, in the same order, as PyAV's; one that gives no more is told. OpenCV opens a file alike."""
    wanted = [np.asarray(frame.image, int) for frame in Video(str(clip))]
    found = []

    with pytest.raises(OptionError, match=rf"it stopped after {NUM_FRAMES} pictures, expected more; see that it is"):
        for frame, took in Camera(str(clip)).frames(threading.Event()):
            assert frame.number == len(found) and took > 0
            found.append(np.asarray(frame.image, int))

    assert [np.abs(one - other).mean() < 3 for one, other in zip(found, wanted, strict=True)] == [True] * NUM_FRAMES
    stopped = threading.Event()
    stopped.set()
    assert list(Camera(str(clip)).frames(stopped)) == []


def test_what_nobody_took_in_time_is_gone() -> None:
    """So a slow thread always has the newest, and what it has is never older than what it takes for one."""
    numbers: Latest[int] = Latest()
    seen = []

    def put(first: int, last: int) -> None:
        for number in range(first, last):
            numbers.put(number)

    put(0, 5)
    for number in numbers:
        seen.append(number)
        if number < 20:
            later = threading.Thread(target=put, args=(number + 1, number + 9))
            later.start()
            later.join()
        else:
            numbers.close()
    assert seen == [4, 12, 20] and numbers.num_put == 21 and list(numbers) == [20]


def test_a_running_mean_is_that_of_the_past() -> None:
    """Weighted as a video's is, without what is yet to come; a face that is gone for long begins anew."""
    seconds = np.array([0.0, 0.1, 0.25, 0.3])
    values = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])
    means, plain = RunningMeans(scale=0.2), RunningMeans(scale=0)

    for number, (now, value) in enumerate(zip(seconds, values, strict=True), start=1):
        weights = np.exp(-(now - seconds[:number]) / 0.2)
        found = means(now, {3: value})[3]
        np.testing.assert_allclose(found, weights @ values[:number] / weights.sum())
        np.testing.assert_array_equal(plain(now, {3: value})[3], value)
    np.testing.assert_allclose(smooth(seconds, values, scale=0.2)[-1], found)
    np.testing.assert_allclose(means(9.0, {3: values[0], 4: values[1]})[3], values[0], atol=1e-15)
