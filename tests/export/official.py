"""The IIR-SNN authors' checkpoints, made here, and their forward pass, written a second time.

Nothing of `snn_export` is used: what the importer reads is checked against this.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

VGG: dict[str, list[int | str]] = {
    name: [int(item) if item.isdecimal() else item for item in plan.split()]
    for name, plan in {
        "vgg4": "64 A 128 A",
        "vgg5": "64 A 128 128 A",
        "vgg9": "64 A 128 256 A 256 512 A 512 A 512",
        "vgg11": "64 A 128 256 A 512 512 A 512 A 512 512",
        "vgg13": "64 64 A 128 128 A 256 256 A 512 512 512 A 512",
        "vgg16": "64 64 A 128 128 A 256 256 256 A 512 512 512 A 512 512 512",
        "vgg19": "64 64 A 128 128 A 256 256 256 256 A 512 512 512 512 A 512 512 512 512",
    }.items()
}
"""`cfg` of the authors' vgg_spiking_bnfused_biasyes.py and vgg_spiking_mem_new.py, all the same."""

State = dict[str, Tensor]


def vgg(
    plan: list[int | str],
    positions: int,
    *,
    inputs: int = 3,
    width: int = 16,
    biases: bool = True,
    dense: int = 3,
) -> State:
    """A state_dict of the authors' VGG at a `width`-th of its channels, behind DataParallel.

    Args:
        positions: of the map in front of the first of the `dense` layers.
    """
    state: State = {}
    channels, convolutions = inputs, [item for item in plan if isinstance(item, int)]
    for number, wanted in enumerate(convolutions):
        out = max(2, wanted // width)
        _convolution(state, f"features.{3 * number}", out, channels, 3, biases)
        channels = out
    sizes = [channels * positions, *[24] * (dense - 1), 3]
    for index in range(dense):
        weight = torch.randn(sizes[index + 1], sizes[index]) * (2 / sizes[index]) ** 0.5
        state[f"module.classifier.{3 * index}.weight"] = weight
    places = [3 * n for n in range(len(convolutions))]
    length = 3 * len(convolutions)
    _neurons(state, [*places, *range(length, length + 3 * (dense - 1), 3)])
    return state


def resnet(
    *, width: int = 16, biases: bool = True, blocks: tuple[int, ...] = (2, 2, 2, 2)
) -> State:
    """A state_dict of the authors' wide ResNet."""
    state: State = {}
    channels = 64 // width
    for index, inputs in ((0, 3), (3, channels), (6, channels)):
        _convolution(state, f"pre_process.{index}", channels, inputs, 3, biases)
    convolutions = 0
    for stage, count in enumerate(blocks):
        out = channels * 2**stage
        for block in range(count):
            inputs = out if block or not stage else out // 2
            key = f"layer{stage + 1}.{block}"
            _convolution(state, f"{key}.residual.0", out, inputs, 3, biases)
            _convolution(state, f"{key}.residual.3", out, out, 3, biases)
            if inputs != out:
                _convolution(state, f"{key}.identity.0", out, inputs, 1, biases)
            convolutions += 2
    state["module.classifier.0.weight"] = torch.randn(3, channels * 8 * 4)
    _neurons(state, [0, 3, 6, *range(9, 9 + convolutions)])
    return state


def _convolution(state: State, key: str, out: int, inputs: int, kernel: int, biases: bool) -> None:
    scale = (2 / (inputs * kernel**2)) ** 0.5
    state[f"module.{key}.weight"] = torch.randn(out, inputs, kernel, kernel) * scale
    if biases:
        state[f"module.{key}.bias"] = torch.randn(out) * 0.05


def _neurons(state: State, places: list[int]) -> None:
    for place in places:
        state[f"module.threshold.t{place}"] = torch.tensor(0.1 + 0.2 * torch.rand(()).item())
        state[f"module.leak.l{place}"] = torch.tensor(0.9 + 0.1 * torch.rand(()).item())


def save(path: Path, state: State, **changes: Any) -> Path:
    """Write what the authors' scripts write, optimiser and all."""
    weights = [torch.nn.Parameter(tensor.clone()) for tensor in state.values()]
    optimiser = torch.optim.Adam(weights, lr=1e-4, amsgrad=True)
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    content = {
        "accuracy": 0.93,
        "epoch": 500,
        "state_dict": state,
        "optimizer": optimiser.state_dict(),
        "thresholds": [v for k, v in state.items() if ".threshold." in k],
        "timesteps": 1,
        "leak": [v for k, v in state.items() if ".leak." in k],
        "activation": "Linear",
    }
    torch.save(content | changes, path)
    return path


def forward(
    state: State, images: Tensor, plan: list[int | str] | None, timesteps: int = 1
) -> tuple[dict[int, Tensor], Tensor]:
    """The authors' forward pass, membranes and all: spikes by place, and the logits.

    Args:
        plan: of a VGG, with the "A" that ImageNet's has at its end; None for a ResNet.
    """
    weights = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    membranes: dict[int, Tensor] = {}
    spikes: dict[int, Tensor] = {}

    def neuron(place: int, current: Tensor) -> Tensor:
        threshold, leak = weights[f"threshold.t{place}"], weights[f"leak.l{place}"]
        membrane = leak * membranes.get(place, torch.zeros_like(current)) + current
        u = membrane / threshold - 1.0
        fired = torch.zeros_like(u)
        fired[u > 0] = 1.0
        membranes[place] = membrane - threshold * (u > 0).float()
        spikes[place] = fired
        return fired

    def convolve(key: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = weights[f"{key}.weight"]
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight, weights.get(f"{key}.bias"), stride, padding)

    logits, place = torch.zeros(()), 0
    for _ in range(timesteps):
        if plan is None:
            x = _residual(weights, neuron, convolve, images)
        else:
            x, place = images, 0
            for item in plan:
                if item == "A":
                    x = F.avg_pool2d(x, 2, 2)
                else:
                    x = neuron(place, convolve(f"features.{place}", x))
                    place += 3
            x = x.flatten(1)
        *hidden, last = sorted(int(key.split(".")[1]) for key in weights if "classifier" in key)
        for index in hidden:
            x = neuron(place + index, F.linear(x, weights[f"classifier.{index}.weight"]))
        logits = logits + F.linear(x, weights[f"classifier.{last}.weight"])
    return spikes, logits


def _residual(weights: State, neuron: Any, convolve: Any, images: Tensor) -> Tensor:
    x = images
    for place in (0, 3, 6):
        x = neuron(place, convolve(f"pre_process.{place}", x))
    x = F.avg_pool2d(x, 2)
    place = 9
    for stage in range(1, 5):
        block = 0
        while f"layer{stage}.{block}.residual.0.weight" in weights:
            key, stride = f"layer{stage}.{block}", 2 if stage > 1 and not block else 1
            inner = neuron(place, convolve(f"{key}.residual.0", x, stride))
            current = convolve(f"{key}.residual.3", inner)
            if f"{key}.identity.0.weight" in weights:
                x = convolve(f"{key}.identity.0", x, stride)
            x = neuron(place + 1, current + x)
            place, block = place + 2, block + 1
    return x.flatten(1)
