"""Which pixels speak for an answer: Grad-CAM of the last convolution, and integrated gradients, by captum.

In: images as a network takes them, and the class to explain. Out: a heat map an image. Costs tens of passes an image.
"""

import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam
from torch import nn

__all__ = ["grad_cam", "integrated_gradients"]

_STEPS = 32
"""Gauss-Legendre nodes between the mean colour and the image."""


def grad_cam(network: nn.Module, layer: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return how much each place of a layer's maps speaks for a class, at least 0, float ``[N, H, W]`` on the CPU.

    Args:
        network: Returns logits first.
        layer: One within it that gives maps.
        images: float ``[N, C, H, W]``.
        classes: int64 ``[N]``, one an image.
    """
    method = LayerGradCam(lambda each: network(each)[0], layer)
    maps = method.attribute(images, target=classes, relu_attributions=True)
    scaled: torch.Tensor = LayerAttribution.interpolate(maps, tuple(images.shape[2:]), interpolate_mode="bilinear")
    return scaled[:, 0].detach().float().cpu()


def integrated_gradients(network: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return what each pixel adds to a class's logit against the mean colour, float ``[N, H, W]`` on the CPU.

    The values of an image add up to the difference between its logit and that of the mean colour everywhere.

    Args:
        network: Returns logits first.
        images: float ``[N, C, H, W]``, normalised: zeros are the mean colour.
        classes: int64 ``[N]``, one an image.
    """
    method = IntegratedGradients(lambda each: network(each)[0])
    values = method.attribute(images, target=classes, n_steps=_STEPS, internal_batch_size=max(_STEPS, len(images)))
    summed: torch.Tensor = values.sum(1).detach().float().cpu()
    return summed
