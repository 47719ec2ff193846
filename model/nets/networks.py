"""The networks: seven small ones of the report this project grew from, any of timm's, and anybody's own.

In: a name, the image size, the classes. Out: a module of a body (images to features), dropout, and heads.
"""

import math

import torch
from torch import nn

from ferdata.errors import OptionError
from ferdata.optional import needs
from ferdata.training.nets.designs import KERNEL, TIMM_PREFIX, Design, feature_map, find_design, is_own
from ferdata.training.nets.dropout import SampleDropout
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.own import make_own

__all__ = ["FerNetwork", "build_network"]


class FerNetwork(ExpressionNetwork):
    """A body that turns images into features, and heads that read expression, and valence and arousal, off them.

    Args:
        body: float ``[N, C, H, W]`` to float ``[N, num_features]``.
        num_features: Features of a sample.
        num_classes: Classes.
        dropout: Share of the features left out in training.
        valence_arousal: Whether there is a second head.
        flattened: Shape ``[C, H, W]`` that the first linear layer reads flattened; None if it reads averages.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        num_features: int,
        num_classes: int,
        dropout: float,
        valence_arousal: bool,
        flattened: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.flattened, self.num_features, self.has_valence_arousal = flattened, num_features, valence_arousal
        self.dropout = SampleDropout(dropout)
        self.head = nn.Linear(num_features, num_classes)
        self.va_head = nn.Linear(num_features, 2) if valence_arousal else None

    def forward(
        self, images: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return logits float ``[N, classes]``; with such a head, valence and arousal ``[N, 2]`` in [-1, 1]."""
        features = self.dropout(self.body(images), mask)
        return self.head(features), None if self.va_head is None else torch.tanh(self.va_head(features))

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads there are."""
        return ("head", "va_head") if self.has_valence_arousal else ("head",)


def build_network(
    name: str,
    *,
    size: tuple[int, int],
    num_classes: int,
    channels: int = 3,
    dropout: float | None = None,
    valence_arousal: bool = False,
    pretrained: bool = False,
    given: nn.Module | None = None,
) -> ExpressionNetwork:
    """Return a network with fresh weights from torch's current random state.

    Args:
        name: One of ``MODEL_NAMES``, ``timm:<name>``, or ``<module>:<name>`` of somebody's own code.
        size: Height and width of the images.
        num_classes: Classes.
        channels: Channels of the images.
        dropout: Share of features left out; None for the design's own.
        valence_arousal: Whether to add the second head.
        pretrained: Load timm's own weights.
        given: A network of somebody's own, with the weights it has; ``name`` then says what it is called.

    Raises:
        OptionError: If the name is unknown, the images are too small, timm is not installed, or somebody's own code
            makes no such network.
    """
    if given is not None or is_own(name):
        return make_own(
            name, given, size=size, num_classes=num_classes, channels=channels, valence_arousal=valence_arousal
        )
    design = find_design(name)
    flattened = None
    if name.startswith(TIMM_PREFIX):
        body, num_features = _timm_body(name.removeprefix(TIMM_PREFIX), size, channels, pretrained)
    elif pretrained:
        raise OptionError(
            f"pretrained: the report's {name} has no published weights, expected timm:<name>; use init_from=RUN"
        )
    else:
        flattened = feature_map(name, size)
        body, num_features = _body(design, flattened, channels)
    share = design.dropout if dropout is None else dropout
    return FerNetwork(
        body,
        num_features=num_features,
        num_classes=num_classes,
        dropout=share,
        valence_arousal=valence_arousal,
        flattened=flattened,
    )


def _body(design: Design, flattened: tuple[int, int, int], channels: int) -> tuple[nn.Module, int]:
    num_features = math.prod(flattened)
    layers: list[nn.Module] = []
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


def _timm_body(name: str, size: tuple[int, int], channels: int, pretrained: bool) -> tuple[nn.Module, int]:
    with needs("timm", f"model timm:{name}"):
        import timm
    try:
        body: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, in_chans=channels)
        body.eval()
        with torch.no_grad():
            num_features = int(body(torch.zeros(1, channels, *size)).shape[1])
    except Exception as error:
        raise OptionError(
            f"model timm:{name} at {size[0]} x {size[1]}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; "
            "choose a name out of timm.list_models() and a size= it can take"
        ) from error
    return body.train(), num_features
