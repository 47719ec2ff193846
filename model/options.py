"""Every setting of a training run, in one value that is written to the run's folder and read back to go on.

In: keyword arguments. Out: a frozen, checked :class:`TrainOptions`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from ferdata.errors import OptionError, TrainError
from ferdata.mixing import MIXES, Roots, split_weights
from ferdata.parallel import check_workers
from ferdata.place import expand
from ferdata.setting import Setting, check_settings
from ferdata.store import StrPath
from ferdata.training.checks import check_combination
from ferdata.training.nets.designs import BACKBONE, OBJECT_PREFIX, find_design

__all__ = ["TrainOptions"]

SMALL_IMAGE = 100
"""From this side on, a network as large as mod4 is worth its time."""

_RENAMED = {"deal": "assign"}
"""Settings that a run of an earlier version wrote under another name."""

_BY_SIZE = "mod4; basic1 for images under 100 px"
_BY_DESIGN = "the network's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Settings of a run; the defaults are a sound start, not the report's.

    Attributes:
        shards: Folder or URL of a data set, a list of several, or a dict of several and their weights, which is kept as
            a list and ``set_weights``; may be None only with ``resume``.
        set_weights: Weight of each of several sets.
        freeze: A pattern of parameters' names, several comma-separated, or ``backbone``, which True stands for.
        va_weight: Weight of the loss of valence and arousal.
        memory_bytes: Bound of each loader's ring.
        checkpoint_steps: Write a checkpoint every so many steps, beside the one after every epoch; 0 for never.
    """

    shards: Roots | Mapping[str, float] | None = None
    set_weights: tuple[float, ...] | None = None

    model: Annotated[
        str | None,
        Setting(
            "Train basic1, basic2, mod1, mod2, mod3, new1, mod4, timm:<name>, or your own network, <module>:<name>.",
            "Network",
            none=_BY_SIZE,
        ),
    ] = None
    pretrained: Annotated[bool, Setting("Start a timm:<name> network with its published weights.", "Network")] = False
    init_from: Annotated[
        StrPath | None,
        Setting(
            "Start with the weights of this run or checkpoint, classes matched by name; or of another program's file.",
            "Network",
            none="fresh",
        ),
    ] = None
    freeze: Annotated[
        str | None,
        Setting(
            "Leave as it starts: backbone, all but the last layers; or what a pattern of names matches, body.0.*.",
            "Network",
            none="nothing",
            metavar="NAMES",
        ),
    ] = None
    dropout: Annotated[
        float | None,
        Setting(
            "Drop this share of the features before the last layer.", "Network", none=_BY_DESIGN, least=0, most=0.99
        ),
    ] = None
    valence_arousal: Annotated[
        bool, Setting("Train a second head for valence and arousal where samples have them.", "Network")
    ] = False
    va_weight: float = 1.0

    size: Annotated[
        int | None, Setting("Resize images to this side.", "Images", none="the shards' own", least=8, most=1 << 16)
    ] = None
    region: Annotated[
        str | None,
        Setting(
            "Show only this region of each face, by its landmarks: mouth, eyes, brows, nose, or several as in "
            "eyes+brows; with no- before it, all but it.",
            "Images",
            none="the whole face",
        ),
    ] = None
    augment: Annotated[
        tuple[str, ...],
        Setting("Augment train images by these, comma-separated: flip, crop and color; none for nothing.", "Images"),
    ] = ("flip", "crop")
    mix: Annotated[
        str | None,
        Setting(
            "Mix several data sets: concat, every sample once; weights, as many by weights; smallest or largest, by "
            "weights until the first or last set ends.",
            "Images",
            none="weights if there are any, else concat",
            choices=MIXES,
        ),
    ] = None
    sampling: Annotated[
        str | Mapping[str, float] | None,
        Setting(
            "Draw samples uniform, each once an epoch, or balanced over classes.",
            "Images",
            none="balanced; uniform with weights",
        ),
    ] = None
    limit: Annotated[
        int | None,
        Setting(
            "Train on so many samples of train, the same in every epoch, each class in its proportion.",
            "Images",
            none="all",
            least=1,
        ),
    ] = None

    epochs: Annotated[int, Setting("Pass over the train split this many times.", "Optimization", least=1)] = 10
    batch_size: Annotated[int, Setting("Take this many samples a step, over all ranks.", "Optimization", least=1)] = 32
    optimizer: Annotated[
        str, Setting("Step with this optimizer.", "Optimization", choices=("adam", "adamw", "sgd"))
    ] = "adamw"
    lr: Annotated[float, Setting("Let the learning rate rise to this.", "Optimization")] = 1e-3
    lr_factors: Annotated[
        tuple[str, ...],
        Setting(
            "Multiply the learning rate of some parameters, comma-separated: backbone=0.1, or by a pattern of names, "
            "as in body.0.*=0.01; the first that matches counts.",
            "Optimization",
            none="one rate for all",
            metavar="NAMES=FACTOR",
        ),
    ] = ()
    momentum: Annotated[
        float | None,
        Setting(
            "Use this momentum of SGD, or beta of Adam.",
            "Optimization",
            none="the network's, 0.9 for Adam",
            least=0,
            most=0.9999,
        ),
    ] = None
    weight_decay: Annotated[
        float,
        Setting("Decay weights by this: with adamw apart from the gradient, else in it.", "Optimization", least=0),
    ] = 0.01
    schedule: Annotated[
        str,
        Setting(
            "Keep the learning rate, or bring it down to zero along a cosine.",
            "Optimization",
            choices=("constant", "cosine"),
        ),
    ] = "cosine"
    warmup: Annotated[
        float,
        Setting("Raise the learning rate from zero over this share of all steps.", "Optimization", least=0, most=1),
    ] = 0.05
    loss: Annotated[
        str | None,
        Setting(
            "Take the mean or the sum of the loss over a batch.",
            "Optimization",
            none=_BY_DESIGN,
            choices=("mean", "sum"),
        ),
    ] = None
    class_weights: Annotated[
        bool,
        Setting("Weigh each class's loss by the inverse of its frequency; sampling is then uniform.", "Optimization"),
    ] = False
    label_smoothing: Annotated[
        float, Setting("Spread this share of the target over all classes.", "Optimization", least=0, most=0.99)
    ] = 0.0
    focal: Annotated[
        float,
        Setting("Let samples count less the surer they are right: focal loss of this gamma.", "Optimization", least=0),
    ] = 0.0
    mixup: Annotated[
        float,
        Setting(
            "Mix images in pairs, and their labels, by shares drawn from Beta(this, this).", "Optimization", least=0
        ),
    ] = 0.0
    ema: Annotated[
        float,
        Setting(
            "Measure and keep an average of the weights, of which each step leaves this share; 0.999 is usual.",
            "Optimization",
            least=0,
            most=0.999999,
        ),
    ] = 0.0

    device: Annotated[str, Setting("Train on this device: auto, cpu, cuda or cuda:<n>.", "Machine")] = "auto"
    amp: Annotated[str, Setting("Compute in this mixed precision.", "Machine", choices=("off", "bf16", "fp16"))] = "off"
    channels_last: Annotated[bool, Setting("Keep images channels-last in memory.", "Machine")] = False
    compile: Annotated[bool, Setting("Run the network through torch.compile.", "Machine")] = False
    accumulate: Annotated[
        int,
        Setting(
            "Compute a rank's part of a batch in this many micro-batches: less memory, the same step.",
            "Machine",
            least=1,
        ),
    ] = 1
    num_workers: Annotated[
        int | None,
        Setting(
            "Start this many loader processes on each rank.",
            "Machine",
            none="one per core, at most 8",
            flag="--workers",
        ),
    ] = None
    memory_bytes: int = 1 << 30
    resident: Annotated[
        str,
        Setting(
            "Hold train, and val if both fit, in the device's memory: yes, no, or auto: on a GPU, what fits half of "
            "what is free there.",
            "Machine",
            choices=("auto", "yes", "no"),
        ),
    ] = "no"
    decode: Annotated[
        str,
        Setting(
            "Decode what is streamed, in compact, in the loader's workers (host) or on the device itself.",
            "Machine",
            choices=("host", "device"),
        ),
    ] = "host"
    assign: Annotated[
        str,
        Setting(
            "Let ranks read rows of one process's batches, or windows of their own.",
            "Machine",
            choices=("rows", "windows"),
        ),
    ] = "rows"

    out: Annotated[StrPath, Setting("Write the run's folder into this folder.", "Run", metavar="DIR")] = "runs"
    name: Annotated[str | None, Setting("Name the run's folder.", "Run", none="network, data set and time")] = None
    resume: Annotated[
        StrPath | None,
        Setting(
            "Go on with this run at the exact sample; auto: with the newest unfinished one, if any.",
            "Run",
            none="a new run",
        ),
    ] = None
    watch: Annotated[
        bool, Setting("Draw feature maps of two faces after every epoch, as a film strip on the run's page.", "Run")
    ] = False
    seed: Annotated[
        int,
        Setting("Draw weights, order, augmentation and dropout from this seed.", "Run", least=0, most=(1 << 63) - 1),
    ] = 0
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        for name in ("init_from", "out", "resume"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, expand(getattr(self, name)))
        self._take_sets()
        freeze: Any = self.freeze  # runs of an earlier version wrote a truth value
        if isinstance(freeze, bool):
            object.__setattr__(self, "freeze", BACKBONE if freeze else None)
        if self.model is not None:
            find_design(self.model)
        check_settings(self)
        check_workers(self.num_workers, least=0)
        check_combination(self)

    def _take_sets(self) -> None:
        """Keep what ``shards`` names as a text, or as a tuple of them and a tuple of their weights."""
        weights = self.set_weights
        if self.shards is not None:
            found, given = split_weights(self.shards)
            roots: Any = found
            several = isinstance(roots, list | tuple)
            object.__setattr__(self, "shards", tuple(map(expand, roots)) if several else expand(roots))
            weights = given or weights
        object.__setattr__(self, "set_weights", None if weights is None else tuple(weights))
        if weights is not None and self.shards is not None and len(weights) != len(self.roots):
            raise OptionError(f"shards: {len(self.roots)} sets and {len(weights)} weights found, expected one for each")

    @property
    def roots(self) -> tuple[str, ...]:
        """The folder or URL of each data set."""
        if self.shards is None:
            return ()
        return self.shards if isinstance(self.shards, tuple) else (str(self.shards),)

    @property
    def sets(self) -> Roots | Mapping[str, float]:
        """What a loader is given for train."""
        weights = self.set_weights
        return self.roots if weights is None else dict(zip(self.roots, weights, strict=True))

    @property
    def model_name(self) -> str:
        """Name of the network; to be asked once it is chosen."""
        assert self.model is not None
        return self.model

    @property
    def short_name(self) -> str:
        """Name of the network as a part of a folder's."""
        return self.model_name.removeprefix(OBJECT_PREFIX).replace(":", "-").replace("/", "-")

    @property
    def loss_reduction(self) -> str:
        """``mean`` or ``sum``."""
        return self.loss or find_design(self.model_name).loss

    def resolved(self, size: int) -> "TrainOptions":
        """Return the settings with what was left open filled in: the network for this size, and the sampling."""
        return replace(
            self,
            model=self.model or ("mod4" if (self.size or size) >= SMALL_IMAGE else "basic1"),
            sampling=self.sampling or ("uniform" if self.class_weights else "balanced"),
        )

    def input_size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return height and width of what the network sees of samples ``(3, H, W)``."""
        return (shape[1], shape[2]) if self.size is None else (self.size, self.size)

    def located(self) -> "TrainOptions":
        """Return the settings with whole paths, which mean the same wherever the run is gone on with."""
        roots = tuple(map(_located, self.roots))
        shards = roots if isinstance(self.shards, tuple) else roots[0] if roots else None
        return replace(self, shards=shards, init_from=self.init_from and _located(self.init_from))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self) | {"sampling": dict(self.sampling) if isinstance(self.sampling, Mapping) else self.sampling}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], where: str) -> "TrainOptions":
        """Return the settings that :meth:`to_json` wrote.

        Raises:
            TrainError: If a setting is missing or unknown.
        """
        try:
            settings = {_RENAMED.get(name, name): value for name, value in record.items()}
            listed = {"augment": tuple(settings["augment"]), "lr_factors": tuple(settings.get("lr_factors", ()))}
            return cls(**{**settings, **listed})
        except (KeyError, TypeError, AttributeError) as error:
            raise TrainError(
                f"{where}: {error}, expected the settings of this version of ferdata; start a new run"
            ) from error


def _located(path: StrPath) -> str:
    return os.fspath(path) if "://" in os.fspath(path) else os.path.abspath(path)
