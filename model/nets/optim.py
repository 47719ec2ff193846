"""The optimizer and its learning rate. In: options. Out: a torch optimizer; a rate that depends on the step alone."""

import math

import torch

from ferdata.training.nets.designs import find_design
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.layers import parameter_groups
from ferdata.training.options import TrainOptions

__all__ = ["learning_rate", "make_optimizer"]


def make_optimizer(network: ExpressionNetwork, options: TrainOptions, device: torch.device) -> torch.optim.Optimizer:
    """Return the optimizer of everything that is not frozen."""
    parameters = parameter_groups(network, options.lr_factors)
    if options.optimizer == "sgd":
        momentum = find_design(options.model_name).momentum if options.momentum is None else options.momentum
        return torch.optim.SGD(parameters, lr=options.lr, momentum=momentum, weight_decay=options.weight_decay)
    kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    first_beta = 0.9 if options.momentum is None else options.momentum
    fused = device.type == "cuda"
    return kind(parameters, lr=options.lr, betas=(first_beta, 0.999), weight_decay=options.weight_decay, fused=fused)


def learning_rate(options: TrainOptions, step: int, total_steps: int) -> float:
    """Return the rate of a step, counted from 0, of ``total_steps``: a linear rise, then constant or half a cosine."""
    rise = round(options.warmup * total_steps)
    if step < rise:
        return options.lr * (step + 1) / rise
    if options.schedule == "constant":
        return options.lr
    return options.lr * (1 + math.cos(math.pi * (step - rise) / max(1, total_steps - rise))) / 2
