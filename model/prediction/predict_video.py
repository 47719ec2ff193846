"""What runs say of a video, frame by frame: faces found, followed, and smoothed over time.

In: folders of runs, and a video file. Out: a :class:`Timeline`; on request its table, its plot and an annotated video.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ferdata.errors import OptionError, StoreError
from ferdata.parallel import Progress
from ferdata.place import is_standard_output
from ferdata.store import write_file_at
from ferdata.training.prediction.frames import Video, writing
from ferdata.training.prediction.options import PredictOptions
from ferdata.training.prediction.overlay import annotate
from ferdata.training.prediction.predict import predictor_of
from ferdata.training.prediction.prediction import Prediction
from ferdata.training.prediction.predictor import Pixels, Predictor
from ferdata.training.prediction.timeline import Moment, Timeline
from ferdata.training.prediction.tracks import smooth
from ferdata.training.prediction.watch import Watcher

__all__ = ["predict_video"]

_TABLE, _FILM, _PLOT = ".csv", ".mp4", ".png"


def predict_video(options: PredictOptions, *, progress: Progress | None = None) -> Timeline:
    """Say of each frame of a video, or of each face in it, what it shows.

    A face keeps its number as long as its boxes overlap from frame to frame, with gaps of half a second. What is said
    of it is averaged over time, to both sides.

    Args:
        options: What to do; ``out`` ends in ``.csv``, beside which the plot is written as ``.png``, or in ``.mp4``,
            beside which both are.
        progress: Called with (frames done, frames).

    Raises:
        OptionError: If it is no video.
        StoreError: If a file cannot be written.
        TrainError: If a run cannot be read.

    Example:
        >>> timeline = ferdata.predict_video(ferdata.PredictOptions(runs=["runs/first"], source="clip.mp4"))
        >>> timeline.num_frames, timeline.moments[-1].seconds
        (5, 0.4)
    """
    _check_out(options)
    video = Video(str(options.source))
    predictor = predictor_of(options)
    began = time.perf_counter()
    moments, num_frames = _look(options, video, predictor, progress)
    elapsed = time.perf_counter() - began
    timeline = Timeline(
        runs=tuple(map(str, options.runs)),
        source=str(options.source),
        classes=predictor.classes,
        moments=_smoothed(moments, predictor.classes, options.smoothing),
        num_frames=num_frames,
        frames_per_second=num_frames / elapsed,
        notes=tuple(video.notes),
    )
    return timeline if options.out is None else replace(timeline, files=_write(timeline, video, str(options.out)))


def _look(
    options: PredictOptions, video: Video, predictor: Predictor, progress: Progress | None
) -> tuple[list[Moment], int]:
    """Return what is said of every face of every frame by itself, and the number of frames."""
    watcher = Watcher(options, predictor)
    waiting: list[tuple[Moment, Pixels]] = []
    moments: list[Moment] = []
    done = 0

    def answer() -> None:
        answers = predictor([pixels for _, pixels in waiting])
        moments.extend(replace(each, prediction=found) for (each, _), found in zip(waiting, answers, strict=True))
        waiting.clear()

    for frame in video:
        for track, face in watcher.sights(frame):
            moment = Moment(frame=frame.number, seconds=frame.seconds, track=track, face=face, prediction=_NOTHING)
            waiting.append((moment, watcher.pixels(frame, face)))
        if len(waiting) >= options.batch_size:
            answer()
        done = frame.number + 1
        if progress is not None:
            progress(done, max(done, video.num_frames))
    answer()
    if not done:
        raise OptionError(f"{options.source}: a video without a frame found, expected some; name another file")
    return moments, done


_NOTHING = Prediction(label="", probabilities={})


def _smoothed(moments: Sequence[Moment], classes: tuple[str, ...], scale: float) -> tuple[Moment, ...]:
    places: dict[int, list[int]] = defaultdict(list)
    for place, moment in enumerate(moments):
        places[moment.track].append(place)
    found = list(moments)
    for track in places.values():
        rows = np.array([moments[place].prediction.row() for place in track])
        times = np.array([moments[place].seconds for place in track])
        for place, row in zip(track, smooth(times, rows, scale=scale).tolist(), strict=True):
            found[place] = replace(moments[place], prediction=Prediction.of_row(classes, row))
    return tuple(found)


def _check_out(options: PredictOptions) -> None:
    out = options.out
    if out is None or is_standard_output(str(out)):
        return
    if "://" in str(out) or Path(out).suffix.lower() not in (_TABLE, _FILM):
        raise OptionError(
            f"out: {out} found, expected a local file that ends in {_TABLE}, beside which the plot is written, "
            f"or in {_FILM}, for an annotated video beside both; name one"
        )
    if Path(out).resolve() == Path(options.source).resolve():
        raise OptionError(f"out: {out} found, which is the video itself, expected another file; name one")


def _write(timeline: Timeline, video: Video, out: str) -> tuple[str, ...]:
    if is_standard_output(out):
        write_file_at(out, timeline.to_csv().encode())
        return ()
    from ferdata.training.prediction.timeline_plot import draw_timeline

    path = Path(out)
    written = [path.with_suffix(_TABLE), path.with_suffix(_PLOT)]
    write_file_at(str(written[0]), timeline.to_csv().encode())
    write_file_at(str(written[1]), draw_timeline(timeline))
    if path.suffix.lower() == _FILM:
        _write_film(timeline, video, path)
        written.append(path)
    return tuple(map(str, written))


def _write_film(timeline: Timeline, video: Video, path: Path) -> None:
    """Write the video with what is said drawn on it, whole or not at all; it is decoded once more for that."""
    by_frame: dict[int, list[Moment]] = defaultdict(list)
    for moment in timeline.moments:
        by_frame[moment.frame].append(moment)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        frames = iter(video)
        first = next(frames)
        with writing(str(partial), first.image.size) as write:
            write(annotate(first.image, by_frame[0]), first.seconds)
            for frame in frames:
                write(annotate(frame.image, by_frame[frame.number]), frame.seconds)
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}, expected a file that can be written; name another") from error
    finally:
        partial.unlink(missing_ok=True)
