"""Spiking networks of the VGG and wide residual families, for T ≥ 1, and as the ANN of stage 0.

A network is a list of layers and a readout. In recipe `iir` the ANN of stage 0 has batch
normalisation too, folded into W and b before the first spiking stage.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.events.library import library
from snn_train.layer import Layer
from snn_train.layout import Architecture, plan


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
        sent = {"image": images}
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
        drive = drive.view(-1, len(sent["image"]), *drive.shape[1:])
        if len(drive) < self.timesteps:  # the image's current, the same at every timestep
            drive = drive.expand(self.timesteps, *drive.shape[1:])
        spikes = layer.neuron(drive)
        return layer.pool(layer.drop(spikes, spikes[:1]).flatten(0, 1))

    def compiled(self) -> nn.Module:
        """What computes the same, compiled, and on a processor by events where those are few; the
        parameters are its own. Raises: DeviceError: there is no compiler."""
        self.train_by_events()
        whole: nn.Module = torch.compile(self)  # type: ignore[assignment]  # a module of the same kind
        return whole

    def train_by_events(self) -> None:
        """Let convolutions of spikes on a processor do the work of the spikes there are."""
        if self.timesteps and self.readout.weight.device.type == "cpu":
            library()  # or it would be compiled in the first step
            for layer in self.populations():
                layer.by_events = layer.plan.source != "image"

    def normalised_weights(self) -> list[Tensor]:
        """Weights whose norm has no effect, because a normalisation follows."""
        return [weight for layer in self.populations() for weight in layer.normalised_weights()]

    def clamp(self) -> None:
        """Keep every leak and threshold in its range; to be called after an optimiser step."""
        for layer in self.populations():
            layer.neuron.clamp()

    def costs(self) -> list[tuple[str, int]]:
        """(population, multiply-adds that its spikes cause) of every projection it feeds."""
        costs = [
            (source, macs)
            for layer in self.populations()
            for source, macs in layer.plan.costs()
            if source != "image"
        ]
        return [*costs, (self.populations()[-1].plan.name, self.readout.weight.numel())]

    def spike_rate(self, rates: dict[str, float]) -> float:
        """Mean of `rates` weighted by the multiply-adds that the spikes cause downstream."""
        costs = self.costs()
        return sum(rates[source] * macs for source, macs in costs) / sum(macs for _, macs in costs)
