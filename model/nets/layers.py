"""Which parameters are meant by a pattern of their names: what is frozen, and what is trained at another rate.

In: a network and patterns. Out: parameters without gradients, and groups of an optimizer.
"""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from ferdata.errors import OptionError
from ferdata.training.nets.designs import BACKBONE
from ferdata.training.nets.interface import ExpressionNetwork

__all__ = ["freeze", "keep_still", "names_of", "parameter_groups"]


def freeze(network: ExpressionNetwork, patterns: str) -> None:
    """Leave the parameters that match any of some patterns (comma-separated) as they are.

    Raises:
        OptionError: If a pattern matches none, or nothing is left to train.
    """
    frozen = {name for pattern in patterns.split(",") for name in _matching(network, pattern.strip(), "freeze")}
    parameters = dict(network.bare.named_parameters())
    for name in frozen:
        parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise OptionError(f"freeze: {patterns} found, which matches every parameter, expected some to be left to train")


def keep_still(network: ExpressionNetwork) -> None:
    """Put what is frozen as a whole into evaluation mode: its statistics stay, and it drops nothing out."""
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def parameter_groups(network: ExpressionNetwork, factors: Sequence[str]) -> list[Any]:
    """Return what an optimizer is given: the parameters that are trained, in groups where they have rates of their own.

    Args:
        network: What is trained.
        factors: ``PATTERN=FACTOR`` each; the first that matches a parameter counts.

    Raises:
        OptionError: If a pattern matches none.
    """
    trained = {name: parameter for name, parameter in network.bare.named_parameters() if parameter.requires_grad}
    if not factors:
        return list(trained.values())
    groups: list[dict[str, Any]] = []
    for text in factors:
        pattern, _, factor = text.rpartition("=")
        names = _matching(network, pattern, "lr_factors") & set(trained)
        groups.append({"params": [trained[name] for name in trained if name in names], "factor": float(factor)})
        trained = {name: parameter for name, parameter in trained.items() if name not in names}
    groups.append({"params": list(trained.values()), "factor": 1.0})
    return [group for group in groups if group["params"]]


def _matching(network: ExpressionNetwork, pattern: str, option: str) -> set[str]:
    names = [name for name, _ in network.bare.named_parameters()]
    if pattern == BACKBONE:
        if not network.heads:
            raise OptionError(
                f"{option}: {BACKBONE} found, but this network's last layers are no linear ones with as many outputs "
                f"as there are classes, expected a pattern of parameters' names, {_examples(names)}"
            )
        return set(names) - names_of(network, network.heads)
    found = {name for name in names if fnmatchcase(name, pattern)}
    if not found:
        raise OptionError(
            f"{option}: {pattern!r} found, which matches no parameter of the network, expected {BACKBONE} or a pattern "
            f"of names, {_examples(names)}"
        )
    return found


def names_of(network: ExpressionNetwork, layers: Collection[str]) -> set[str]:
    """Return the names of some layers' parameters."""
    modules: dict[str, nn.Module] = dict(network.bare.named_modules())
    return {f"{layer}.{name}".lstrip(".") for layer in layers for name, _ in modules[layer].named_parameters()}


def _examples(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 8 else ""
    return f"such as {names[0].rpartition('.')[0] or names[0]}*; they are {', '.join(names[:8])}{more}"
