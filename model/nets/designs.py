"""Which networks there are, the designs of the report's, and how many features they make of an image; no torch."""

from dataclasses import dataclass

from ferdata.errors import OptionError

__all__ = [
    "BACKBONE",
    "KERNEL",
    "MODEL_NAMES",
    "OBJECT_PREFIX",
    "TIMM_PREFIX",
    "Design",
    "feature_map",
    "find_design",
    "is_own",
    "smallest_size",
]

KERNEL = 5
BACKBONE = "backbone"
"""Stands for all parameters but those of the last layers."""

TIMM_PREFIX = "timm:"
OBJECT_PREFIX = "network="
"""What the name of a network begins with that was given as an object; the name of its class follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What one of the report's networks is, and how it was trained.

    Attributes:
        blocks: Output channels of the 5 x 5 convolutions (each with ReLU) before each max pooling.
        pool: Side and stride of every pooling.
        hidden: Widths of the linear layers (each with ReLU) before the last one, which gives a value per class.
        dropout: Share of the features before the last layer that is left out in training.
        loss: ``mean`` or ``sum`` over a batch.
        momentum: Of SGD.
    """

    blocks: tuple[tuple[int, ...], ...] = ()
    pool: int = 2
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    loss: str = "mean"
    momentum: float = 0.0


_BASIC2 = ((64,), (64,), (64,), (64,))
_NEW1 = ((64, 128), (192, 192))

DESIGNS: dict[str, Design] = {
    "basic1": Design(blocks=((6,), (16,)), pool=3, hidden=(120, 84)),
    "basic2": Design(blocks=_BASIC2, pool=2, hidden=(512,)),
    "mod1": Design(blocks=_BASIC2, pool=2, hidden=(512,), loss="sum"),
    "mod2": Design(blocks=_BASIC2, pool=2, hidden=(512, 512), loss="sum"),
    "mod3": Design(blocks=_BASIC2, pool=2, hidden=(512,), dropout=0.5),
    "new1": Design(blocks=_NEW1, pool=3),
    "mod4": Design(blocks=_NEW1, pool=3, dropout=0.1, momentum=0.9),
}

MODEL_NAMES: tuple[str, ...] = tuple(DESIGNS)
"""The report's networks, smallest first; ``timm:<name>`` and ``<module>:<name>`` are allowed beside them."""

_OTHER_DESIGN = Design(momentum=0.9)


def find_design(name: str) -> Design:
    """Return the design of a network, also of one of timm's or of somebody's own.

    Raises:
        OptionError: If the name is unknown.
    """
    if name.startswith(TIMM_PREFIX) or is_own(name):
        return _OTHER_DESIGN
    if name not in DESIGNS:
        raise OptionError(
            f"model: {name!r} found, expected one of {', '.join(MODEL_NAMES)}, or timm:<name>, or <module>:<name> of "
            "your own code"
        )
    return DESIGNS[name]


def is_own(name: str) -> bool:
    """Tell whether a network is somebody's own: ``<module>:<name>``, or given as an object."""
    parts = name.partition(":")
    is_path = all(word.isidentifier() for side in parts[::2] for word in side.split("."))
    return name.startswith(OBJECT_PREFIX) or (is_path and not name.startswith(TIMM_PREFIX) and parts[1] != "")


def feature_map(name: str, size: tuple[int, int]) -> tuple[int, int, int]:
    """Return the shape ``[C, H, W]`` of what the convolutions of one of the report's networks make of an image size.

    The first linear layer reads it flattened.

    Raises:
        OptionError: If nothing is left of so small an image.
    """
    design = DESIGNS[name]
    height, width = (_side(design, side) for side in size)
    if min(height, width) < 1:
        least = smallest_size(name)
        fitting = [other for other in MODEL_NAMES if smallest_size(other) <= min(size)]
        instead = f" or use model={' or '.join(fitting)}" if fitting else ""
        raise OptionError(
            f"model {name}: images of {size[0]} x {size[1]} found, expected at least {least} x {least}, "
            f"since its convolutions leave nothing of smaller ones; pass size={least} or larger{instead}"
        )
    return design.blocks[-1][-1], height, width


def smallest_size(name: str) -> int:
    """Return the smallest side of an image that one of the report's networks can take."""
    return next(side for side in range(1, 1 << 12) if _side(DESIGNS[name], side) >= 1)


def _side(design: Design, side: int) -> int:
    """Return what is left of an image's side; less than 1 where the image is too small."""
    for block in design.blocks:
        side = (side - (KERNEL - 1) * len(block)) // design.pool
        if side < 1:
            return 0
    return side
