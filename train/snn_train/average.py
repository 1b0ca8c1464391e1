"""The exponential moving average of the weights, where the recipe asks for one.

    a ← d a + (1 − d) w        d = min(decay, (1 + step) / (10 + step))

The second term lets it forget where the stage began.
"""

import torch

from snn_train.network import SpikingNetwork


@torch.no_grad()
def follow(average: SpikingNetwork, network: SpikingNetwork, decay: float, step: int) -> None:
    """Move the average towards the network, after `step` steps of the stage."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    mine, now = average.state_dict(), network.state_dict()
    for name, value in mine.items():
        if value.is_floating_point():
            value.lerp_(now[name], weight)
        else:
            value.copy_(now[name])
