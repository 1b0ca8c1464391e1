"""A module that runs as it was for one timestep, with hooks on its neurons.

What they receive and fire is kept. Or they are made to fire at random, so that what stands between
them is seen to compute what was read, however seldom pictures make them fire.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_export.fold import Array
from snn_export.importers.builder import aside
from snn_export.importers.execute import Spikes
from snn_export.importers.layers import Fired
from snn_export.importers.program import value_of
from snn_export.importers.spiking import Framework, given_to, several_steps
from snn_export.importers.trace import Traced
from snn_runtime.errors import ModelError


@dataclass(frozen=True, eq=False)
class Driven:
    """What a network computes while its neurons fire at random."""

    spikes: Spikes
    excess: dict[str, Array]
    """By layer of neurons: a x + v₀ − θ, of the first level."""
    logits: Tensor


@dataclass(eq=False)
class _Record:
    """What the neurons received and sent, by layer, without the axis of time."""

    random: torch.Generator | None = None
    received: dict[str, Tensor] = field(default_factory=dict)
    sent: dict[str, Tensor] = field(default_factory=dict)
    _drawn: dict[str, Tensor] = field(default_factory=dict)

    def drawn(self, layer: Fired, spikes: Tensor) -> Tensor:
        """Spikes at random, the same whenever the layer is run."""
        if layer.name not in self._drawn:
            most = 1 + len(layer.higher)
            chosen = torch.randint(most + 1, spikes.shape, generator=self.random)
            self._drawn[layer.name] = chosen.to(spikes.dtype)
        return self._drawn[layer.name].clone()

    def spikes(self, layer: Fired) -> Any:
        sent = self.sent[layer.name]
        return sent.byte().numpy() if layer.higher else (sent != 0).numpy()


class Program:
    """The module itself, run for one timestep from resting membranes."""

    def __init__(
        self, network: nn.Module, framework: Framework, traced: Traced, classes: int
    ) -> None:
        self.network, self.framework, self.traced = network, framework, traced
        self.classes = classes
        modules = dict(network.named_modules())
        fired = {each.name: each for each in traced.layers.layers if isinstance(each, Fired)}
        self.neurons = {
            name: (fired[name], modules[module]) for name, module in traced.neurons.items()
        }

    def __call__(self, images: Tensor) -> tuple[Spikes, Tensor]:
        record, logits = self._run(images, None)
        return {name: record.spikes(layer) for name, (layer, _) in self.neurons.items()}, logits

    def driven(self, images: Tensor) -> Driven:
        """The same with spikes at random in the place of all but the last neurons'."""
        record, logits = self._run(images, torch.Generator().manual_seed(0))
        layers = {name: layer for name, (layer, _) in self.neurons.items()}
        excess = {
            name: _membrane(layer, record.received[name]) - layer.threshold
            for name, layer in layers.items()
        }
        return Driven({n: record.spikes(layer) for n, layer in layers.items()}, excess, logits)

    @aside()
    def _run(self, images: Tensor, random: torch.Generator | None) -> tuple[_Record, Tensor]:
        images, record = images.reshape(self.traced.shape), _Record(random)
        self.framework.reset(self.network)
        with self._hooked(record):
            try:
                answer = self.network(images)
            except Exception as error:  # the user's own code can raise anything
                problem = " ".join(str(error).split())[:200]
                raise ModelError(
                    "unsupported", f"{type(self.network).__name__}: cannot be run ({problem})"
                ) from error
            return record, self._logits(images, answer, record)

    def _logits(self, images: Tensor, answer: Any, record: _Record) -> Tensor:
        head, output = self.traced.head, self.traced.layers.output
        if self.traced.spikes:
            last, _ = self.neurons[output]
            return torch.from_numpy(_membrane(last, record.received[output])).float()
        if head is not None:
            answer = value_of(self.network, self.framework, self.traced.graph, images, head.before)
        else:
            for key in self.traced.place:
                answer = answer[key]
        logits: Tensor = answer.reshape(-1, self.classes)
        return logits

    @contextmanager
    def _hooked(self, record: _Record) -> Iterator[None]:
        with ExitStack() as stack:
            for layer, module in self.neurons.values():
                replaced = record.random is not None and layer.name != self.traced.layers.output
                hook = _hook(layer, record, replaced)
                handle = module.register_forward_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
            yield


def _hook(layer: Fired, record: _Record, replaced: bool) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        sent = output[0] if isinstance(output, tuple) else output
        sent = record.drawn(layer, sent) if replaced else sent
        received = given_to(args, kwargs)
        timed = several_steps(module)
        # Copies: the program may change both in place.
        record.sent[layer.name] = (sent[0] if timed else sent).detach().clone()
        record.received[layer.name] = (received[0] if timed else received).detach().clone()
        if not replaced:
            return None
        return (sent, *output[1:]) if isinstance(output, tuple) else sent

    return hook


def _membrane(layer: Fired, received: Tensor) -> Array:
    """a x + v₀"""
    return np.asarray(received.double().numpy() * layer.gain + layer.rest)
