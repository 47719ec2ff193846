"""A run's network as other programs take it: ONNX, an exported program of torch's, or bare weights.

In: a run. Out: a file that was read back and gave the network's own answers, for uint8 images as they come out of a
decoder: resizing apart, all that comes before the network is in it.
"""

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import ferdata
from ferdata.errors import OptionError, TrainError
from ferdata.optional import needs
from ferdata.setting import either
from ferdata.store import StrPath, write_file_at
from ferdata.training.load import TrainedNetwork, load_run
from ferdata.training.regions import Region

__all__ = ["FORMS", "Converted", "convert"]

FORMS = {"onnx": ".onnx", "torch-export": ".pt2", "weights": ".pt"}
"""What a run can be converted to -> the ending of its file."""

TOLERANCE = 1e-5
"""How far a probability, or a valence or arousal, may be from the network's own."""

RECORD_NAME = "ferdata.json"
_OPSET = 18
_EXAMPLE_SAMPLES = 2
"""A batch of one would be taken for a constant."""
_CHECKED_SAMPLES = (1, 5)

Answers = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""Takes uint8 ``[N, C, H, W]``; returns probabilities ``[N, classes]`` and, with such a head, V/A ``[N, 2]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was written.

    Attributes:
        path: The file.
        form: A key of ``FORMS``.
        num_bytes: Its size.
        classes: Names; a class's number is its column in ``probabilities``.
        shape: Of the images it takes, uint8 ``[N, *shape]``; N is free.
        outputs: Their names, in order; none for bare weights.
        difference: The largest between an answer of the file and one of the network; at most 1e-5.
        region: What its images must be covered but for, or at, by whoever asks it; None for nothing.
    """

    path: str
    form: str
    num_bytes: int
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    outputs: tuple[str, ...]
    difference: float
    region: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON-ready values."""
        return asdict(self)

    def describe(self) -> str:
        """Return what a user of the file must know, in a few lines."""
        classes = ", ".join(f"{number} {name}" for number, name in enumerate(self.classes))
        head = f"{self.path}: {self.form}, {self.num_bytes / 1e6:,.1f} MB, answers as the run's within {TOLERANCE:g}"
        if self.region is not None:
            head += (
                f"\nof images that show {Region.of(self.region)}, the rest in the mean colour: it covers nothing itself"
            )
        if not self.outputs:
            return f"{head}\nclasses: {classes}"
        shape = ", ".join(map(str, self.shape))
        return f"{head}\ntakes images, uint8 [N, {shape}]; gives {' and '.join(self.outputs)}\nclasses: {classes}"


def convert(run: StrPath, out: StrPath, *, to: str | None = None, network: nn.Module | None = None) -> Converted:
    """Write a run's best network in a form that needs no ferdata.

    ``onnx`` and ``torch-export`` take uint8 images of the network's own size, normalise them, and give softmax
    probabilities, and ``valence_arousal`` if there is such a head. Class names, mean, standard deviation and transform
    stand in the file: ONNX's ``metadata_props``, or ``ferdata.json`` among an exported program's extra files.
    ``weights`` are the bare ``state_dict()``, which knows none of that.

    Args:
        run: The run's folder, or a checkpoint.
        out: The file to write; one that is there is replaced once the new one has been checked.
        to: One of ``FORMS``; None: what the file's ending says.
        network: What was given to ``train`` as an object, see :func:`load_run`.

    Raises:
        OptionError: If the form is unknown, or needs a package that is not installed.
        TrainError: If there is no run, its network has no such form, or the file would answer otherwise.
        StoreError: If the file cannot be written.

    Example:
        >>> ferdata.convert("runs/first", "first.onnx").outputs
        ('probabilities',)
    """
    form = _form(str(out), to)
    trained = load_run(run, network=network)
    writer, reader = _WAYS[form]
    try:
        data = writer(trained)
    except (OptionError, TrainError):
        raise
    except Exception as error:  # torch's exporters raise whatever a network of somebody else's lets them
        raise TrainError(
            f"{run}: its network cannot be written as {form} ({_first_line(error)}), expected one that torch can "
            f"export; use another form: {either([name for name in FORMS if name != form])}"
        ) from error
    difference = _difference(trained, reader(data, trained), form)
    write_file_at(str(out), data)
    return Converted(
        path=str(out),
        form=form,
        num_bytes=len(data),
        classes=trained.classes,
        shape=_shape(trained),
        outputs=() if form == "weights" else _outputs(trained),
        difference=difference,
        region=trained.region,
    )


def _form(path: str, to: str | None) -> str:
    by_ending = {ending: form for form, ending in FORMS.items()}
    form = by_ending.get(Path(path).suffix.lower()) if to is None else to
    if form is None:
        raise OptionError(
            f"out: {path} found, expected a name that ends in {either(list(by_ending))}; or name the form with to="
        )
    if form not in FORMS:
        raise OptionError(f"to: {form!r} found, expected {either(list(FORMS))}")
    return form


class _Answering(nn.Module):
    """Images to answers as one graph, of operations that every exporter of torch since 2.6 can write down."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, trained: TrainedNetwork) -> None:
        super().__init__()
        self.network = trained.network
        self.register_buffer("mean", torch.tensor(trained.mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(trained.std).reshape(-1, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return probabilities and, with such a head, valence and arousal."""
        logits, values = self.network((images.float() - self.mean) / self.std)
        probabilities = logits.softmax(1)
        return (probabilities,) if values is None else (probabilities, values)


def _outputs(network: TrainedNetwork) -> tuple[str, ...]:
    return ("probabilities", "valence_arousal") if network.has_valence_arousal else ("probabilities",)


def _shape(network: TrainedNetwork) -> tuple[int, int, int]:
    return (len(network.mean), *network.size)


def _record(network: TrainedNetwork) -> dict[str, Any]:
    return {
        "ferdata": ferdata.__version__,
        "classes": list(network.classes),
        "size": list(network.size),
        "mean": list(network.mean),
        "std": list(network.std),
        "transform": network.transform,
        **({} if network.region is None else {"region": network.region}),
    }


def _program(network: TrainedNetwork) -> torch.export.ExportedProgram:
    images = torch.zeros(_EXAMPLE_SAMPLES, *_shape(network), dtype=torch.uint8)
    return torch.export.export(
        _Answering(network).eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    )


def _to_onnx(network: TrainedNetwork) -> bytes:
    with needs("onnx", "convert to onnx", "onnx", "onnxscript", "onnxruntime"), _quiet():
        exported = torch.onnx.export(
            _program(network),
            input_names=["images"],
            output_names=list(_outputs(network)),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        assert exported is not None
        model = exported.model_proto
    for name, value in _record(network).items():
        model.metadata_props.add(key=name, value=value if isinstance(value, str) else json.dumps(value))
    return bytes(model.SerializeToString())


def _from_onnx(data: bytes, network: TrainedNetwork) -> Answers:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda images: [torch.from_numpy(each) for each in session.run(None, {"images": images.numpy()})]


def _to_program(network: TrainedNetwork) -> bytes:
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(_program(network), buffer, extra_files={RECORD_NAME: json.dumps(_record(network))})
    return buffer.getvalue()


def _from_program(data: bytes, network: TrainedNetwork) -> Answers:
    with _quiet():
        module = torch.export.load(io.BytesIO(data)).module()
    return lambda images: list(module(images))


def _to_weights(network: TrainedNetwork) -> bytes:
    buffer = io.BytesIO()
    torch.save(network.network.bare.state_dict(), buffer)
    return buffer.getvalue()


def _from_weights(data: bytes, network: TrainedNetwork) -> Answers:
    emptied = copy.deepcopy(network)
    for tensor in emptied.network.bare.state_dict().values():
        tensor.zero_()
    emptied.network.bare.load_state_dict(torch.load(io.BytesIO(data), weights_only=True))
    return emptied.answers


_WAYS: dict[str, tuple[Callable[[TrainedNetwork], bytes], Callable[[bytes, TrainedNetwork], Answers]]] = {
    "onnx": (_to_onnx, _from_onnx),
    "torch-export": (_to_program, _from_program),
    "weights": (_to_weights, _from_weights),
}


def _difference(network: TrainedNetwork, answers: Answers, form: str) -> float:
    """Return the largest difference between the file's answers and the network's.

    Raises:
        TrainError: If it is more than ``TOLERANCE``.
    """
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    with torch.inference_mode():
        for count in _CHECKED_SAMPLES:
            images = torch.randint(0, 256, (count, *_shape(network)), dtype=torch.uint8, generator=generator)
            for found, wanted in zip(answers(images), network.answers(images), strict=True):
                largest = max(largest, float((found - wanted).abs().max()))
    if not largest <= TOLERANCE:
        raise TrainError(
            f"convert to {form}: answers that differ by {largest:g} found, expected at most {TOLERANCE:g}; "
            "nothing was written: report this with the run's network and the versions of torch and onnxruntime"
        )
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch's exporters say about themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
