"""The networks: seven small ones of the report this project grew from, and any of timm's.

In: a name, the image size, the classes. Out: a module of a body (images to features), dropout, and heads. Linear inputs
are derived from the image size, without running the network.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ferdata.errors import OptionError
from ferdata.training.nets.dropout import SampleDropout

__all__ = ["MODEL_NAMES", "Design", "FerNetwork", "build_network", "find_design", "linear_input", "smallest_size"]

KERNEL = 5
TIMM_PREFIX = "timm:"


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
"""The report's networks, smallest first; ``timm:<name>`` is allowed beside them."""

_TIMM_DESIGN = Design(momentum=0.9)


class FerNetwork(nn.Module):
    """A body that turns images into features, and heads that read expression, and valence and arousal, off them.

    Args:
        body: float ``[N, 3, H, W]`` to float ``[N, num_features]``.
        num_features: Features of a sample.
        num_classes: Classes.
        dropout: Share of the features left out in training.
        valence_arousal: Whether there is a second head.
    """

    def __init__(
        self, body: nn.Module, *, num_features: int, num_classes: int, dropout: float, valence_arousal: bool
    ) -> None:
        super().__init__()
        self.body = body
        self.dropout = SampleDropout(dropout)
        self.head = nn.Linear(num_features, num_classes)
        self.va_head = nn.Linear(num_features, 2) if valence_arousal else None

    def forward(
        self, images: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return logits float ``[N, classes]``, and valence and arousal float ``[N, 2]`` in [-1, 1] with such a head.

        Args:
            images: float ``[N, 3, H, W]``.
            mask: bool ``[N, num_features]``, see :func:`model.nets.dropout.dropout_mask`.
        """
        features = self.dropout(self.body(images), mask)
        return self.head(features), None if self.va_head is None else torch.tanh(self.va_head(features))

    @property
    def num_parameters(self) -> int:
        """Number of trainable and frozen parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


def find_design(name: str) -> Design:
    """Return the design of a network, also of one of timm's.

    Raises:
        OptionError: If the name is unknown.
    """
    if name.startswith(TIMM_PREFIX):
        return _TIMM_DESIGN
    if name not in DESIGNS:
        raise OptionError(f"model: {name!r} found, expected one of {', '.join(MODEL_NAMES)}, or timm:<name>")
    return DESIGNS[name]


def build_network(
    name: str,
    *,
    size: tuple[int, int],
    num_classes: int,
    dropout: float | None = None,
    valence_arousal: bool = False,
    pretrained: bool = False,
) -> FerNetwork:
    """Return a network with fresh weights from torch's current random state.

    Args:
        name: One of :data:`MODEL_NAMES`, or ``timm:<name>``.
        size: Height and width of the images.
        num_classes: Classes.
        dropout: Share of features left out; None for the design's own.
        valence_arousal: Whether to add the second head.
        pretrained: Load timm's own weights.

    Raises:
        OptionError: If the name is unknown, the images are too small, or timm is not installed.
    """
    design = find_design(name)
    if name.startswith(TIMM_PREFIX):
        body, num_features = _timm_body(name.removeprefix(TIMM_PREFIX), size, pretrained)
    elif pretrained:
        raise OptionError(
            f"pretrained: the report's {name} has no published weights, expected timm:<name>; use --init-from RUN"
        )
    else:
        body, num_features = _body(name, design, size)
    share = design.dropout if dropout is None else dropout
    return FerNetwork(
        body, num_features=num_features, num_classes=num_classes, dropout=share, valence_arousal=valence_arousal
    )


def linear_input(name: str, size: tuple[int, int]) -> int:
    """Return the number of features that the convolutions of one of the report's networks give for an image size.

    Raises:
        OptionError: If nothing is left of so small an image.
    """
    design = DESIGNS[name]
    height, width = (_side(design, side) for side in size)
    if min(height, width) < 1:
        least = smallest_size(name)
        fitting = [other for other in MODEL_NAMES if smallest_size(other) <= min(size)]
        instead = f" or use --model {' or '.join(fitting)}" if fitting else ""
        raise OptionError(
            f"model {name}: images of {size[0]} x {size[1]} found, expected at least {least} x {least}, "
            f"since its convolutions leave nothing of smaller ones; pass --size {least} or larger{instead}"
        )
    return design.blocks[-1][-1] * height * width


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


def _body(name: str, design: Design, size: tuple[int, int]) -> tuple[nn.Module, int]:
    num_features = linear_input(name, size)
    layers: list[nn.Module] = []
    channels = 3
    for block in design.blocks:
        for width in block:
            layers += [nn.Conv2d(channels, width, KERNEL), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(design.pool))
    layers.append(nn.Flatten())
    for width in design.hidden:
        layers += [nn.Linear(num_features, width), nn.ReLU(inplace=True)]
        num_features = width
    return nn.Sequential(*layers), num_features


def _timm_body(name: str, size: tuple[int, int], pretrained: bool) -> tuple[nn.Module, int]:
    try:
        import timm
    except ImportError as error:
        raise OptionError(
            f"model timm:{name}: the package timm is not installed, expected it for its models; "
            "pip install 'ferdata[timm]'"
        ) from error
    try:
        body: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0)
        body.eval()
        with torch.no_grad():
            num_features = int(body(torch.zeros(1, 3, *size)).shape[1])
    except Exception as error:
        raise OptionError(
            f"model timm:{name} at {size[0]} x {size[1]}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; "
            "choose a name out of timm.list_models() and a --size it can take"
        ) from error
    return body.train(), num_features
