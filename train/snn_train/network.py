"""Spiking networks of the VGG and wide residual families, for T ≥ 1, and as the ANN of stage 0.

A network is a list of layers; a layer is one population of neurons with everything in front of it:

    recipe iir-bn   current = norm(maxpool(W ∗ x))     spikes stay binary, pooled before they fire
    recipe iir      current = W ∗ x + b                spikes are averaged after they fire

and, in a residual layer, plus the shortcut's current. `norm` is batch normalisation without a gain:
1/θ of the neuron behind it is the gain, and is positive by construction, which is what makes max
pooling before the threshold equal to OR of the spikes behind it. torchvision's ResNets keep their
gains, of either sign, and are pooled behind them. In recipe `iir` the ANN of stage 0 has batch
normalisation too, folded into W and b before the first spiking stage.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.events.convolution import convolve, suits, train_by_events
from snn_train.layout import IMAGE, Architecture, LayerPlan, plan
from snn_train.neuron import neurons
from snn_train.parallel import moments


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation, with a gain γ of its own or without, times the 1/θ of the neurons behind
    it: (γ (x − μ)/√(σ² + ε) + β)/θ."""

    running_mean: Tensor  # always kept here, which nn.BatchNorm2d leaves open
    running_var: Tensor

    def __init__(self, channels: int, gain: bool = False) -> None:
        super().__init__(channels, affine=False)
        self.shift = nn.Parameter(torch.zeros(channels))
        self.gain = nn.Parameter(torch.ones(channels)) if gain else None

    def forward(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        gain = torch.ones_like(self.shift) if gain is None else gain.expand_as(self.shift)
        shift = self.shift * gain
        gain = gain if self.gain is None else gain * self.gain
        if self.training and dist.is_initialized():
            return self._over_processes(x, gain, shift)
        return F.batch_norm(
            x, self.running_mean, self.running_var, gain, shift, self.training,
            self.momentum or 0.0, self.eps,
        )  # fmt: skip

    def gains(self) -> Tensor:
        """γ, `(C,)`."""
        return torch.ones_like(self.shift) if self.gain is None else self.gain

    def _over_processes(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """The same by the statistics of all processes' parts of the batch."""
        mean, variance, count = moments(x)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum or 0.0)
        factor = gain * (variance + self.eps).rsqrt()
        offset = shift - mean * factor
        return x * broadcast(factor, x).to(x.dtype) + broadcast(offset, x).to(x.dtype)


class Layer(nn.Module):
    """One population of neurons and what drives it."""

    def __init__(self, described: LayerPlan, architecture: Architecture, normalised: bool) -> None:
        super().__init__()
        faithful = architecture.recipe == "iir"
        channels = described.channels
        self.plan = described
        self.max_pool, self.dropout = not faithful, architecture.dropout
        self.padding = described.padding
        self.by_events = False  # its convolution, while it trains
        self.synapse: nn.Conv2d | nn.Linear
        if described.kind == "dense":
            # As in the paper, dense layers of recipe iir have neither bias nor normalisation.
            self.synapse = nn.Linear(described.inputs, channels, bias=False)
            normalised = not faithful
        else:
            side, stride = described.kernel, described.stride
            self.synapse = nn.Conv2d(
                described.inputs, channels, side, stride, self.padding, bias=not normalised
            )
        self.norm = BatchNorm(channels, described.gain) if normalised else None
        self.shortcut: nn.Conv2d | None = None
        self.shortcut_norm: BatchNorm | None = None
        if described.shortcut and described.projects:
            inputs, stride = described.shortcut_channels, described.shortcut_stride
            self.shortcut = nn.Conv2d(inputs, channels, 1, stride, bias=not normalised)
            self.shortcut_norm = BatchNorm(channels, described.gain) if normalised else None
        thresholds = 1 if faithful else channels
        self.neuron = neurons(thresholds, architecture.surrogate, architecture.levels)

    def normalised_weights(self) -> list[Tensor]:
        """Weights whose norm has no effect, because a normalisation follows."""
        pairs = ((self.synapse, self.norm), (self.shortcut, self.shortcut_norm))
        return [synapse.weight for synapse, norm in pairs if synapse and norm]

    def current(self, x: Tensor, shortcut: Tensor | None, gain: Tensor | None) -> Tensor:
        """The current times `gain`, `(N, C, …)`, for inputs `(N, …)`."""
        current = self._synaptic_current(x)
        early = shortcut is None and not self.plan.gain  # fewer pixels to normalise
        current = _normalise(self.largest(current) if early else current, self.norm, gain)
        if shortcut is not None:
            current = current + self._shortcut_current(shortcut, gain)
        return current if early else self.largest(current)

    def largest(self, current: Tensor) -> Tensor:
        """The largest current of every window, where the recipe pools currents."""
        pool, overlap = self.plan.pool, self.plan.overlap
        if pool == 1 or not self.max_pool:
            return current
        return F.max_pool2d(current, pool + overlap, pool, overlap)

    def _synaptic_current(self, x: Tensor) -> Tensor:
        if isinstance(self.synapse, nn.Linear):
            return F.linear(x.flatten(1), self.synapse.weight)
        # No stride across a map one pixel wide, where it means nothing: torch 2.13's CPU kernels
        # leave part of the weights' gradient unwritten there in bfloat16 (channels last).
        stride = (self.plan.stride, min(self.plan.stride, x.shape[-1]))
        if self.by_events and self.training and suits(x):
            return convolve(x, self.synapse, stride)
        return F.conv2d(x, self.synapse.weight, self.synapse.bias, stride, self.padding)

    def _shortcut_current(self, x: Tensor, gain: Tensor | None) -> Tensor:
        if self.shortcut is None:
            return x if gain is None else x * broadcast(gain, x).to(x.dtype)
        # Only the pixels that a stride leaves, taken beforehand: the gradient of a 1×1 convolution
        # with a stride writes past its memory in torch 2.13 on the CPU.
        stride = self.plan.shortcut_stride
        current = F.conv2d(x[:, :, ::stride, ::stride], self.shortcut.weight, self.shortcut.bias)
        return _normalise(current, self.shortcut_norm, gain)

    def pool(self, spikes: Tensor) -> Tensor:
        """What leaves the population, `(N, C, …)`: averaged where the recipe pools spikes."""
        if self.plan.pool > 1 and not self.max_pool:
            return F.avg_pool2d(spikes, self.plan.pool)
        return spikes

    def drop(self, values: Tensor, one: Tensor) -> Tensor:
        """Dropout with a mask like `one`, the same for all T (as in the authors' code)."""
        if not self.training or self.dropout == 0:
            return values
        return values * F.dropout(torch.ones_like(one), self.dropout)


class SpikingNetwork(nn.Module):
    """A feed-forward spiking network under direct encoding; `timesteps == 0` makes it the ANN.

    The image's current is the same at every timestep, so it is computed once. The readout never
    fires: it adds up W s over the timesteps.
    """

    def __init__(self, architecture: Architecture, timesteps: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.timesteps = timesteps
        self.bits = 0
        """Bits of the integers it computes in; 0 for floating point."""
        plans = plan(
            architecture.network,
            architecture.width,
            architecture.hidden,
            (architecture.image_height, architecture.image_width),
        )
        normalised = architecture.recipe == "iir-bn" or timesteps == 0
        self.layers = nn.ModuleList(Layer(each, architecture, normalised) for each in plans)
        features = plans[-1].channels * plans[-1].sent_positions
        self.readout = nn.Linear(features, architecture.classes, architecture.recipe == "iir-bn")
        self.rates: dict[str, Tensor] | None = None
        """Set to a dictionary to have each layer's firing rate recorded: spikes a neuron and
        timestep, or of the ANN the share of values that are not zero. Averaging spikes, as recipe
        `iir` pools them, does not change their rate."""
        for parameter in self.parameters():
            if parameter.dim() == 4:  # the fast layout for convolutions, on CPU and GPU
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def populations(self) -> list[Layer]:
        """The layers, in the order in which they fire."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(B, classes)` for normalised images `(B, 3, H, W)`."""
        sent = {IMAGE: images}
        for layer in self.populations():
            values = self.send(layer, sent)
            if self.rates is not None:
                active = values if self.timesteps else (values != 0)
                self.rates[layer.plan.name] = active.mean(dtype=torch.float32)
            sent[layer.plan.name] = values
        logits: Tensor = self.readout(values.flatten(1))
        return logits.view(-1, len(images), logits.shape[-1]).sum(0)

    def send(self, layer: Layer, sent: dict[str, Tensor]) -> Tensor:
        """What `layer` sends, `(T·B, …)`, given what came before it, `(T·B, …)` or the images."""
        source = sent[layer.plan.source]
        shortcut = sent[layer.plan.shortcut] if layer.plan.shortcut else None
        gain = layer.neuron.threshold.reciprocal() if self.timesteps else None
        drive = layer.current(source, shortcut, gain)
        if self.timesteps < 2:  # without an axis for T, with which a step takes far longer
            values = layer.neuron.at_once(drive) if self.timesteps else F.relu(drive)
            return layer.pool(layer.drop(values, values))
        drive = drive.view(-1, len(sent[IMAGE]), *drive.shape[1:])
        if len(drive) < self.timesteps:  # the image's current, the same at every timestep
            drive = drive.expand(self.timesteps, *drive.shape[1:])
        spikes = layer.neuron(drive)
        return layer.pool(layer.drop(spikes, spikes[:1]).flatten(0, 1))

    def compiled(self) -> nn.Module:
        """What computes the same, compiled, and by events where it can; its parameters are this
        one's. Raises: DeviceError: there is no compiler."""
        if self.timesteps:
            train_by_events(self.populations(), self.readout.weight.device)
        whole: nn.Module = torch.compile(self)  # type: ignore[assignment]  # a module of the same kind
        return whole

    def normalised_weights(self) -> list[Tensor]:
        """Weights whose norm has no effect, because a normalisation follows."""
        return [weight for layer in self.populations() for weight in layer.normalised_weights()]

    def clamp(self) -> None:
        """Keep every leak and threshold in its range; to be called after an optimiser step."""
        for layer in self.populations():
            layer.neuron.clamp()

    def costs(self) -> list[tuple[str, int]]:
        """(population, multiply-adds that its spikes cause) of every projection it feeds."""
        of_all = (cost for layer in self.populations() for cost in layer.plan.costs())
        costs = [(source, macs) for source, macs in of_all if source != IMAGE]
        return [*costs, (self.populations()[-1].plan.name, self.readout.weight.numel())]

    def spike_rate(self, rates: dict[str, float]) -> float:
        """Mean of `rates` weighted by the multiply-adds that the spikes cause downstream."""
        costs = self.costs()
        return sum(rates[source] * macs for source, macs in costs) / sum(macs for _, macs in costs)


def broadcast(vector: Tensor, like: Tensor) -> Tensor:
    """A number a channel, `(C,)`, in a shape that goes with `(N, C, …)`."""
    return vector.view(1, -1, *[1] * (like.dim() - 2))


def _normalise(current: Tensor, norm: BatchNorm | None, gain: Tensor | None) -> Tensor:
    """The current behind `norm`, times 1/θ, `gain`, where there are any."""
    if norm is not None:
        return norm.forward(current, gain)
    return current if gain is None else current * broadcast(gain, current).to(current.dtype)
