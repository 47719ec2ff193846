"""How many pictures a second predict --live shows, and where the time goes.

    python -m ferdata_bench.studies.realtime --run runs/first --json realtime.json

In: a run, or the name of a network that nobody has trained: what it says is noise, what it costs is not. Out: the
figures of predict --live on a drawn film of one face in 640 x 480, stage by stage: as a camera gives it, 30 frames a
second, and faster than can be kept up with, where the rate is the machine's limit. A client reads the stream meanwhile.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import torch

from ferdata.images.transform import Transform, TransformOptions
from ferdata.labels import AFFECTNET_8
from ferdata.plan.conditions import describe_machine
from ferdata.synth import draw_film
from ferdata.training.nets.networks import build_network
from ferdata.training.prediction.frames import writing
from ferdata.training.prediction.live import predict_live
from ferdata.training.prediction.options import PredictOptions
from ferdata.training.run.checkpoint import Checkpoint, NetworkRecord, Normalisation
from ferdata.training.run.train_state import TrainState

__all__ = ["Realtime", "measure_realtime"]

_SIZE = (640, 480)
_CAMERA_RATE, _FAST_RATE = 30, 150
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Realtime:
    """What was measured.

    Attributes:
        camera: :class:`ferdata.training.prediction.live.LiveFigures` of each round at 30 frames a second.
        limit: Likewise, at 150: more than there is time for.
        frames_per_second: At most, median over the rounds of ``limit``.
        found: Share of the pictures in which the face was found, of all rounds of ``camera``.
        conditions: What was run, and where.
    """

    camera: tuple[dict[str, Any], ...]
    limit: tuple[dict[str, Any], ...]
    frames_per_second: float
    found: float
    conditions: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def describe(self) -> str:
        """Return the figures in a few lines; of each stage, the median over the rounds."""
        lines = [f"{self.frames_per_second:.1f} frames/s at most, the face found in {self.found:.1%} of pictures"]
        for name, rounds in ((f"{_CAMERA_RATE} frames/s", self.camera), ("as many as can be", self.limit)):
            stages = {
                stage: statistics.median(each["milliseconds"][stage] for each in rounds)
                for stage in rounds[0]["milliseconds"]
            }
            shown = statistics.median(each["num_shown"] / each["num_taken"] for each in rounds)
            late = statistics.median(each["latency_milliseconds"] for each in rounds)
            told = ", ".join(f"{stage} {took:.1f}" for stage, took in stages.items())
            lines.append(f"{name}: {shown:.1%} shown, {late:.0f} ms after they came; ms a picture: {told}")
        return "\n".join(lines)


def measure_realtime(*, run: str | None, model: str, size: int, seconds: float, rounds: int) -> Realtime:
    """Show a film live several times.

    Args:
        run: A run; None: ``model``, untrained.
        model: Name of a network.
        size: Height and width of what it takes.
        seconds: Length of the film.
        rounds: Times that it is shown, each way.
    """
    with tempfile.TemporaryDirectory() as folder:
        named = run or str(_write_untrained(Path(folder) / "untrained.pt", model, size))
        films = [_write_film(Path(folder) / f"{rate}.mp4", rate, seconds) for rate in (_CAMERA_RATE, _FAST_RATE)]
        measured: list[list[dict[str, Any]]] = [[], []]
        for _ in range(rounds):
            for film, figures in zip(films, measured, strict=True):
                figures.append(_show(named, film))
    camera, limit = map(tuple, measured)
    return Realtime(
        camera=camera,
        limit=limit,
        frames_per_second=statistics.median(each["frames_per_second"] for each in limit),
        found=sum(each["num_with_face"] for each in camera) / sum(each["num_shown"] for each in camera),
        conditions={
            **describe_machine(),
            "network": "a run's" if run else f"{model}, untrained, {size} px",
            "film": list(_SIZE),
            "seconds": seconds,
            "rounds": rounds,
        },
    )


def _show(run: str, film: Path) -> dict[str, Any]:
    with predict_live(PredictOptions(runs=[run], source=film, port=0, device="cpu")) as view:
        watcher = Thread(target=_watch, args=(view.address,))
        watcher.start()
        view.wait()
    watcher.join()
    return view.figures().to_json() | {"source": film.name}


def _watch(address: str) -> None:
    with urlopen(f"{address}stream") as answer:
        while answer.read(_CHUNK):
            pass


def _write_film(path: Path, rate: int, seconds: float) -> Path:
    """Write the same film at some rate; the faster one moves no faster, but ends earlier."""
    shown = max(1, round(seconds * _CAMERA_RATE / len(AFFECTNET_8))) / _CAMERA_RATE
    with writing(str(path), _SIZE) as write:
        frames = draw_film(range(len(AFFECTNET_8)), 0, size=_SIZE, frames_per_second=_CAMERA_RATE, seconds_each=shown)
        for number, frame in enumerate(frames):
            write(frame.image, number / rate)
    return path


def _write_untrained(path: Path, model: str, size: int) -> Path:
    torch.manual_seed(0)
    network = build_network(
        model, size=(size, size), num_classes=len(AFFECTNET_8), channels=3, dropout=0.0, valence_arousal=False
    )
    transform = Transform(TransformOptions(size=size))
    Checkpoint(
        model=network.bare.state_dict(),
        network=NetworkRecord(name=model, size=(size, size), channels=3, dropout=0.0, valence_arousal=False),
        classes=AFFECTNET_8,
        normalisation=Normalisation(mean=(127.5,) * 3, std=(64.0,) * 3),
        transform={"settings": transform.settings(), "fingerprint": transform.fingerprint()},
        dataset="none",
        state=TrainState(step=0),
    ).write(path)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.realtime", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--run")
    parser.add_argument("--model", default="basic1")
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = vars(parser.parse_args(arguments))
    path = given.pop("json")
    found = measure_realtime(**given)
    print(found.describe())
    if path is not None:
        path.write_text(json.dumps(found.to_json(), indent=1) + "\n")


if __name__ == "__main__":
    main()
