"""Networks as a user writes them, for the tests of networks that are not ours."""

import torch
from torch import nn

__all__ = ["Plain", "TwoHeads", "convolutional", "fixed", "steps_aside"]


class Plain(nn.Module):
    """Asks for what it needs; has batch normalisation and dropout of its own."""

    def __init__(self, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 5, stride=3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(self.body(images)))  # type: ignore[no-any-return]


class TwoHeads(Plain):
    """Gives valence and arousal too."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.feelings = nn.Linear(128, 2)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        features = self.drop(self.body(images))
        return self.fc(features), torch.tanh(self.feelings(features))


def convolutional(num_classes: int, size: tuple[int, int]) -> nn.Module:
    """A network whose last layer is no linear one."""
    return nn.Sequential(nn.Conv2d(3, num_classes, size), nn.Flatten())


def fixed(num_classes: int) -> nn.Module:
    """As many outputs as it likes."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes + 1))


def steps_aside(num_classes: int) -> nn.Module:
    """Fails in its own code."""
    return nn.Linear(num_classes, "three")  # type: ignore[arg-type]


def asks_too_much(num_classes: int, width: int) -> nn.Module:
    """Needs what nobody knows."""
    return nn.Linear(num_classes, width)


def asks_nothing() -> None:
    """Something else that can be called."""
    raise AssertionError("called")
