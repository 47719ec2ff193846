"""The table of networks for the documentation: parameters and arithmetic, counted and not remembered.

    python -m ferdata_bench.studies.network_table

In: nothing. Out: Markdown. The networks are built on torch's meta device, so nothing is computed.
"""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from ferdata.training.nets.designs import MODEL_NAMES, feature_map, smallest_size
from ferdata.training.nets.networks import build_network

__all__ = ["network_table"]

_DEFINITIONS = {
    "basic1": "conv 3-6, pool 3, conv 6-16, pool 3, fc 120, fc 84, fc",
    "basic2": "4 x (conv to 64, pool 2), fc 512, fc",
    "mod1": "basic2, loss summed over the batch",
    "mod2": "mod1 with one more fc 512",
    "mod3": "basic2 with dropout 0.5",
    "new1": "conv 3-64-128, pool 3, conv 128-192-192, pool 3, fc",
    "mod4": "new1 with dropout 0.1, SGD momentum 0.9",
}


def network_table(size: int = 224, num_classes: int = 8) -> str:
    """Return a row per network: definition, linear input, smallest image, parameters, GFLOP of one forward pass."""
    lines = [
        "| name | definition | linear input | smallest image | parameters | GFLOP per image |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name in MODEL_NAMES:
        with torch.device("meta"):
            network = build_network(name, size=(size, size), num_classes=num_classes).eval()
            with FlopCounterMode(display=False) as counter:
                network(torch.zeros(1, 3, size, size))
        flops = counter.get_total_flops() / 1e9
        cells = [
            name,
            _DEFINITIONS[name],
            f"{math.prod(feature_map(name, (size, size))):,}",
            f"{smallest_size(name)} px",
        ]
        cells += [f"{network.num_parameters:,}", f"{flops:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(network_table(), end="")
