"""What the trainer asks of any network, its own or somebody else's.

In: normalised images. Out: logits, and valence and arousal if the network gives them.
"""

from abc import abstractmethod

import torch
from torch import nn

from ferdata.training.nets.dropout import SampleDropout

__all__ = ["ExpressionNetwork"]


class ExpressionNetwork(nn.Module):
    """A network that reads expressions off images.

    Attributes:
        dropout: Leaves out features by arithmetic; of a network that has its own, with probability 0.
        num_features: How many features that is about.
        flattened: Shape ``[C, H, W]`` that the first linear layer reads flattened; None if it reads something else.
        has_valence_arousal: Whether valence and arousal are answered too.
        gives_more: Whether it has answers that nobody asks for, so that parts of it may get no gradients.
    """

    dropout: SampleDropout
    num_features: int
    flattened: tuple[int, int, int] | None
    has_valence_arousal: bool
    gives_more: bool = False

    @abstractmethod
    def forward(
        self, images: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return logits float ``[N, classes]``, and valence and arousal float ``[N, 2]`` or None.

        Args:
            images: float ``[N, C, H, W]``.
            mask: bool ``[N, num_features]``, see :func:`model.nets.dropout.dropout_mask`.
        """

    @property
    @abstractmethod
    def heads(self) -> tuple[str, ...]:
        """Names in ``bare`` of the linear layers that answer, that of the classes first; none if they are unknown."""

    @property
    def bare(self) -> nn.Module:
        """The module whose weights a checkpoint holds."""
        return self

    @property
    def num_parameters(self) -> int:
        """Number of trainable and frozen parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
