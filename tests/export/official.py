"""The IIR-SNN authors' checkpoints, made here, and their forward pass, written a second time.

Nothing of `snn_export` is used: what the importer reads is checked against this.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

VGG5: list[int | str] = [64, "A", 128, 128, "A"]
VGG9: list[int | str] = [64, "A", 128, 256, "A", 256, 512, "A", 512, "A", 512]
VGG16: list[int | str] = [64, 64, "A", 128, 128, "A", 256, 256, 256, "A"]
VGG16 += [512, 512, 512, "A", 512, 512, 512]

State = dict[str, Tensor]


def vgg(
    plan: list[int | str], positions: int, *, width: int = 16, biases: bool = True, hidden: int = 24
) -> State:
    """A state_dict of the authors' VGG at a `width`-th of its channels, behind DataParallel."""
    state: State = {}
    channels, convolutions = 3, [item for item in plan if isinstance(item, int)]
    for number, wanted in enumerate(convolutions):
        out = max(2, wanted // width)
        _convolution(state, f"features.{3 * number}", out, channels, 3, biases)
        channels = out
    sizes = [channels * positions, hidden, hidden, 3]
    for index in range(3):
        weight = torch.randn(sizes[index + 1], sizes[index]) * (2 / sizes[index]) ** 0.5
        state[f"module.classifier.{3 * index}.weight"] = weight
    places = [3 * n for n in range(len(convolutions))]
    length = 3 * len(convolutions)
    _neurons(state, [*places, length, length + 3])
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
    """The authors' forward pass, membranes and all: spikes by place, and the logits."""
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

    logits = torch.zeros(())
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
            for index in (0, 3):
                x = neuron(place + index, F.linear(x, weights[f"classifier.{index}.weight"]))
        last = "classifier.0.weight" if plan is None else "classifier.6.weight"
        logits = logits + F.linear(x, weights[last])
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
