"""What a network is made of, and what its convolutions make of an image.

In: a network, and images as it takes them. Out: a row a layer, and activations. Costs one pass over the images.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ferdata.training.explanation.result import Layer
from ferdata.training.nets.interface import ExpressionNetwork

__all__ = ["activations", "answer", "first_filters", "last_maps", "list_layers", "spatial_convolutions"]


def list_layers(network: ExpressionNetwork, image: torch.Tensor) -> tuple[Layer, ...]:
    """Return every layer in the order in which an image float ``[1, C, H, W]`` meets it, each once.

    Parameters that no layer holds (a class token, say) are a last row of their own.
    """
    rows: dict[str, Layer] = {}

    def note(name: str, module: nn.Module, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            count = sum(parameter.numel() for parameter in module.parameters())
            kind = type(module).__name__
            rows.setdefault(name, Layer(name=name, kind=kind, shape=tuple(output.shape[1:]), parameters=count))

    _watch(network, _leaves(network), image, note)
    rest = network.num_parameters - sum(row.parameters for row in rows.values())
    return (*rows.values(), *([Layer(name="others", kind="", shape=(), parameters=rest)] if rest else []))


def spatial_convolutions(network: nn.Module, image: torch.Tensor) -> dict[str, nn.Conv2d]:
    """Return the convolutions that make maps of more than one cell of an image, by name, in order."""
    found: dict[str, nn.Conv2d] = {}

    def note(name: str, module: nn.Module, output: Any) -> None:
        if isinstance(module, nn.Conv2d) and min(output.shape[2:]) > 1:
            found.setdefault(name, module)

    _watch(network, _leaves(network), image, note)
    return found


def last_maps(network: ExpressionNetwork, image: torch.Tensor) -> tuple[str, nn.Module] | None:
    """Return the layer that ends the last convolution's maps: its normalisation and activation, if they are layers."""
    ends: list[tuple[str, nn.Module]] = []
    shape: torch.Size | None = None

    def note(name: str, module: nn.Module, output: Any) -> None:
        nonlocal shape
        if isinstance(module, nn.Conv2d) and min(output.shape[2:]) > 1:
            shape = output.shape
            ends.append((name, module))
        elif isinstance(output, torch.Tensor) and output.shape == shape:
            ends.append((name, module))
        else:
            shape = None

    _watch(network, _leaves(network), image, note)
    return ends[-1] if ends else None


def activations(network: nn.Module, images: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return what layers make of images float ``[N, C, H, W]``: name -> float ``[N, channels, h, w]``, on the CPU.

    Copies: an activation that works in place would change them.
    """
    found: dict[str, torch.Tensor] = {}
    modules = dict(network.named_modules())
    _watch(
        network,
        ((name, modules[name]) for name in names),
        images,
        lambda name, _, output: found.setdefault(name, output.float().cpu().clone()),
    )
    return found


def answer(network: ExpressionNetwork, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits float ``[N, classes]``, and what the layer that gives them reads, float ``[N, features]``.

    Of somebody else's network whose last layer is unknown, the logits themselves are the features.
    """
    read: list[torch.Tensor] = []
    heads = network.heads[:1]
    handles = [
        network.bare.get_submodule(name).register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        for name in heads
    ]
    try:
        logits: torch.Tensor = network(images)[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits, (read[-1] if read else logits).flatten(1)


def first_filters(convolutions: Mapping[str, nn.Conv2d]) -> torch.Tensor | None:
    """Return the first convolution's weights, float ``[filters, C, h, w]``; None if there is none."""
    first = next(iter(convolutions.values()), None)
    return None if first is None else first.weight.detach().float().cpu()


def _leaves(network: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    return ((name, module) for name, module in network.named_modules() if not [*module.children()])


def _watch(
    network: nn.Module,
    modules: Iterable[tuple[str, nn.Module]],
    images: torch.Tensor,
    note: Callable[[str, Any, Any], object],
) -> None:
    """Run images through a network, and tell what each of these modules gave."""

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def tell(module: nn.Module, _: Any, output: Any) -> None:
            note(name, module, output)  # what a hook returns would take the place of the output

        return tell

    handles = [module.register_forward_hook(hook(name)) for name, module in modules]
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
