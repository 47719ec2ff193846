"""What runs say of pictures as they come, shown on a page of this machine: predict --live.

In: folders of runs, and a camera, a video or a stream. Out: a page, until one has seen enough. Three threads hand on
the newest picture: one takes it, one finds faces and asks the runs, one draws and encodes. What comes faster than a
thread works is left out, so that a picture waits for one other at most before each of them.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Self

import numpy as np
import simplejpeg
import torch

from ferdata.parallel import usable_cores
from ferdata.training.prediction.cameras import Source, open_source
from ferdata.training.prediction.frames import Frame
from ferdata.training.prediction.handover import Latest, Meter
from ferdata.training.prediction.options import PredictOptions
from ferdata.training.prediction.overlay import annotate
from ferdata.training.prediction.page import Page
from ferdata.training.prediction.predict import predictor_of
from ferdata.training.prediction.prediction import Prediction
from ferdata.training.prediction.predictor import Predictor
from ferdata.training.prediction.timeline import Moment
from ferdata.training.prediction.tracks import RunningMeans
from ferdata.training.prediction.watch import Watcher

__all__ = ["LiveFigures", "LiveView", "predict_live"]

_QUALITY = 85
_GLANCE_SECONDS = 0.2
"""How often the main thread looks for Ctrl-C, which Windows does not let through while it waits."""

STAGES = ("decode", "detect", "network", "draw", "encode")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFigures:
    """What was seen so far, and how fast; rates and times are means of the last hundred pictures.

    Attributes:
        source: Where the pictures come from.
        num_taken: Pictures that came.
        num_shown: Those that were looked at and drawn; the others were left out so that nothing lags.
        num_with_face: Of those shown.
        labels: Class -> in how many pictures it was said of the largest face.
        frames_per_second: At which pictures are shown.
        milliseconds: Stage -> milliseconds a picture: decode (without the wait for a camera), detect, network (cutting
            and all else before it included), draw, encode.
        latency_milliseconds: From the moment that a picture was there to that at which it could be shown.
        longest_latency_milliseconds: The longest.
    """

    source: str
    num_taken: int
    num_shown: int
    num_with_face: int
    labels: dict[str, int]
    frames_per_second: float
    milliseconds: dict[str, float]
    latency_milliseconds: float
    longest_latency_milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def describe(self) -> str:
        """Return the rate, the stages and what was said, in a few lines."""
        seen = self.num_with_face / max(1, self.num_shown)
        stages = ", ".join(f"{name} {took:.1f}" for name, took in self.milliseconds.items())
        shares = ", ".join(
            f"{name} {count / max(1, self.num_with_face):.0%}" for name, count in Counter(self.labels).most_common()
        )
        lines = [
            f"{self.num_shown:,} of {self.num_taken:,} pictures shown, {self.frames_per_second:,.1f} frames/s, "
            f"{seen:.1%} with a face",
            f"milliseconds a picture: {stages}; {self.latency_milliseconds:.0f} from the camera to the page, "
            f"{self.longest_latency_milliseconds:.0f} at most",
        ]
        return "\n".join([*lines, *([shares] if shares else [])])


class LiveView:
    """A page that shows what runs say of pictures as they come; :func:`predict_live` makes it, ``with`` ends it.

    Attributes:
        address: Of the page.
    """

    def __init__(self, options: PredictOptions) -> None:
        self._source_name = str(options.source)
        source = open_source(self._source_name)
        predictor = predictor_of(options)
        watcher = Watcher(replace(options, faces=True), predictor)
        self._means = RunningMeans(scale=options.smoothing)
        self._stop = Event()
        self._frames: Latest[tuple[Frame, float]] = Latest()
        self._said: Latest[tuple[Frame, float, list[Moment]]] = Latest()
        self._pictures: Latest[bytes] = Latest()
        self._meters = {name: Meter() for name in STAGES}
        self._latency = Meter()
        self._num_with_face, self._labels = 0, Counter[str]()
        self._page = Page(self._source_name, self._pictures, lambda: self.figures().to_json(), port=options.port)
        self.address = self._page.address
        # a picture is little work, for which threads that wait for each other cost more than they save
        self._torch_threads = torch.get_num_threads()
        torch.set_num_threads(max(1, min(self._torch_threads, usable_cores() // 2)))
        self._threads = ThreadPoolExecutor(3, "predict --live")
        self._work = [
            self._begin(self._take, source, ends=self._frames),
            # its thread's own: garbage of onnxruntime, collected in a worker forked later, waits for threads it lacks
            self._begin(self._look, predictor, watcher, ends=self._said),
            self._begin(self._show, ends=self._pictures),
        ]

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def wait(self) -> None:
        """Wait until the pictures end: a camera's never do.

        Raises:
            OptionError: If they break off.
        """
        remaining: set[Future[None]] = set(self._work)
        while remaining:
            done, remaining = wait(remaining, _GLANCE_SECONDS, FIRST_EXCEPTION)
            for each in done:
                each.result()

    def close(self) -> None:
        """End the page and every thread; figures stay."""
        self._stop.set()
        self._threads.shutdown()
        torch.set_num_threads(self._torch_threads)
        self._page.close()

    def figures(self) -> LiveFigures:
        """Return what was seen so far."""
        return LiveFigures(
            source=self._source_name,
            num_taken=self._frames.num_put,
            num_shown=self._pictures.num_put,
            num_with_face=self._num_with_face,
            labels=dict(self._labels),
            frames_per_second=self._latency.per_second,
            milliseconds={name: meter.milliseconds for name, meter in self._meters.items()},
            latency_milliseconds=self._latency.milliseconds,
            longest_latency_milliseconds=self._latency.longest_milliseconds,
        )

    def _begin(self, work: Callable[..., None], *arguments: Any, ends: Latest[Any]) -> "Future[None]":
        """Start a thread; when it ends, however it does, so does the next one."""

        def run() -> None:
            try:
                work(*arguments)
            finally:
                ends.close()

        return self._threads.submit(run)

    def _take(self, source: Source) -> None:
        for frame, took in source.frames(self._stop):
            self._meters["decode"].note(took)
            self._frames.put((frame, time.perf_counter()))

    def _look(self, predictor: Predictor, watcher: Watcher) -> None:
        for frame, taken in self._until_stopped(self._frames):
            self._said.put((frame, taken, self._ask(frame, predictor, watcher)))

    def _ask(self, frame: Frame, predictor: Predictor, watcher: Watcher) -> list[Moment]:
        with self._meters["detect"].timed():
            sights = watcher.sights(frame)
        with self._meters["network"].timed():
            answers = predictor([watcher.pixels(frame, face) for _, face in sights])
        rows = {track: np.array(one.row()) for (track, _), one in zip(sights, answers, strict=True)}
        smoothed = self._means(frame.seconds, rows)
        return [
            Moment(
                frame=frame.number,
                seconds=frame.seconds,
                track=track,
                face=face,
                prediction=Prediction.of_row(predictor.classes, smoothed[track].tolist()),
            )
            for track, face in sights
        ]

    def _show(self) -> None:
        for frame, taken, moments in self._until_stopped(self._said):
            with self._meters["draw"].timed():
                drawn = np.asarray(annotate(frame.image, moments, bars=True))
            with self._meters["encode"].timed():
                picture = simplejpeg.encode_jpeg(drawn, _QUALITY, colorsubsampling="420")
            self._pictures.put(picture)
            self._latency.note(time.perf_counter() - taken)
            self._num_with_face += bool(moments)
            self._labels.update(moment.prediction.label for moment in moments[:1])

    def _until_stopped(self, items: Iterable[Any]) -> Iterable[Any]:
        for item in items:
            if self._stop.is_set():
                return
            yield item


def predict_live(options: PredictOptions) -> LiveView:
    """Show what runs say of pictures as they come, on a page of this machine.

    Faces are looked for whether ``faces`` says so or not. What is said of one is averaged over the past. Only this
    machine can see the page. While it is there, torch computes on half the cores.

    Args:
        options: What to do; ``source`` is ``camera``, ``camera:1``, a video, which is played at its rate, or the
            address of a stream.

    Raises:
        OptionError: If there is no such camera, video or stream, or the port is taken.
        TrainError: If a run cannot be read.

    Example:
        >>> with ferdata.predict_live(ferdata.PredictOptions(runs=["runs/first"], source="clip.mp4", port=0)) as view:
        ...     view.wait()
        >>> view.figures().num_taken
        5
    """
    return LiveView(options)
