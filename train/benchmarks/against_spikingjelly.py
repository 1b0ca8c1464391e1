"""Training speed beside SpikingJelly's: the same network, batch and device, in one run.

    python train/benchmarks/against_spikingjelly.py
    python train/benchmarks/against_spikingjelly.py --network vgg16 --width 1 --device cuda

Both train the recipe `iir-bn` network (convolution, max pooling, batch norm, LIF neurons with soft
reset, direct encoding) by cross-entropy and AdamW in float32, on the same random pictures. One
step of each in turn, so that a busy machine is busy for all; images/s are of the median step, and
the ratio is the median over the rounds, with its quartiles. SpikingJelly's network is built from
our layer plan with its own multi-step layers and neurons, once as they are and once in the
channels-last layout, which ours uses. Its leak is fixed, ours is trained.
"""

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.layout import Architecture, LayerPlan, plan
from snn_train.network import SpikingNetwork

Step = Callable[[], None]
OURS = "iir-snn"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--network", default="vgg9")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--timesteps", default="5,1")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="default: all cores")
    return parser.parse_args()


class Spiking(nn.Module):
    """SpikingJelly's network for our layer plan; VGG alone, whose plan is a chain."""

    def __init__(self, plans: Sequence[LayerPlan], classes: int, timesteps: int) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, layer, neuron, surrogate

        self.timesteps, self.functional = timesteps, functional
        modules: list[nn.Module] = []
        for each in plans:
            if each.kind != "conv" or each.shortcut:
                raise SystemExit(f"{each.name}: only chains of convolutions are compared")
            modules.append(layer.Conv2d(each.inputs, each.channels, 3, padding=1, bias=False))
            if each.pool > 1:
                modules.append(layer.MaxPool2d(each.pool))
            modules.append(layer.BatchNorm2d(each.channels))
            modules.append(
                neuron.LIFNode(
                    tau=2.0,
                    decay_input=False,
                    v_reset=None,
                    detach_reset=True,
                    surrogate_function=surrogate.ATan(),
                )
            )
        features = plans[-1].channels * plans[-1].sent_positions
        modules += [layer.Flatten(), layer.Linear(features, classes)]
        self.layers = nn.Sequential(*modules)
        functional.set_step_mode(self, "m")

    def forward(self, images: Tensor) -> Tensor:
        self.functional.reset_net(self)
        repeated = images.unsqueeze(0).repeat(self.timesteps, 1, 1, 1, 1)
        logits: Tensor = self.layers(repeated).sum(0)
        return logits


def step_of(network: nn.Module, images: Tensor, labels: Tensor) -> Step:
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)

    def step() -> None:
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
        optimiser.step()
        if isinstance(network, SpikingNetwork):
            network.clamp()

    return step


def contenders(args: argparse.Namespace, timesteps: int) -> dict[str, Step]:
    device, size = torch.device(args.device), args.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(args.batch_size, 3, size, size, generator=generator).to(device)
    labels = torch.randint(0, 10, (args.batch_size,), generator=generator).to(device)
    last = images.contiguous(memory_format=torch.channels_last)
    plans = plan(args.network, args.width, 0, (size, size))
    architecture = Architecture(args.network, width=args.width, image_height=size, image_width=size)
    ours = SpikingNetwork(architecture, timesteps).to(device)
    theirs = [Spiking(plans, 10, timesteps).to(device) for _ in range(2)]
    theirs[1].to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    counts = {sum(p.numel() for p in ours.parameters() if p.dim() > 1)}
    counts |= {sum(p.numel() for p in each.parameters() if p.dim() > 1) for each in theirs}
    assert len(counts) == 1, counts  # the same weights
    return {
        OURS: step_of(ours, last, labels),
        "SpikingJelly": step_of(theirs[0], images, labels),
        "SpikingJelly, channels last": step_of(theirs[1], last, labels),
    }


def timed(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= 2:  # the first ones allocate
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print(f"{args.network} width {args.width:g}, {args.image_size}x{args.image_size}, batch "
          f"{args.batch_size}, {args.rounds} rounds, {machine(device)}\n")  # fmt: skip
    print("| T | | images/s | iir-snn is faster by |\n|---|---|---|---|")
    for timesteps in map(int, args.timesteps.split(",")):
        seconds = timed(contenders(args, timesteps), args.rounds, device)
        for name, values in seconds.items():
            ratios = [own / ours for own, ours in zip(values, seconds[OURS], strict=True)]
            low, _, high = quantiles(ratios)
            ahead = "" if name == OURS else f"{median(ratios):.2f} × ({low:.2f} to {high:.2f})"
            print(f"| {timesteps} | {name} | {args.batch_size / median(values):,.0f} | {ahead} |")


if __name__ == "__main__":
    main()
