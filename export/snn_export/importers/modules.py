"""Networks that come as a program: a torch module of snnTorch or SpikingJelly.

A state_dict names weights but not what follows what, so the user's own function builds the module.
It is run because the user named it; nothing in the weights file is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_export.importers.builder import aside, built
from snn_export.importers.copies import bare, copied, numbers
from snn_export.importers.execute import Spikes
from snn_export.importers.foreign import Foreign
from snn_export.importers.layers import Fired, readout_notes
from snn_export.importers.picture import Picture
from snn_export.importers.program import value_of
from snn_export.importers.snntorch_neurons import FRAMEWORK as SNNTORCH
from snn_export.importers.spiking import Framework, several_steps
from snn_export.importers.spikingjelly_neurons import FRAMEWORK as SPIKINGJELLY
from snn_export.importers.torch_file import array
from snn_export.importers.trace import Traced, trace
from snn_runtime.errors import ModelError
from snn_train.torch_zip import unwrapped

FRAMEWORKS = {each.name: each for each in (SNNTORCH, SPIKINGJELLY)}


@aside()
def from_module(network: nn.Module, picture: Picture) -> Foreign:
    """Return a module of snnTorch or SpikingJelly whose forward is one timestep, folded.

    It is copied, and stays as it was.

    Raises:
        ModelError: `unsupported`, naming the part that has no place in a T = 1 graph.
    """
    network = bare(network)
    framework, types = framework_of(network), numbers(network)
    network = copied(network)
    for name, tensor in network.state_dict().items():
        array(name, tensor)
    size, classes = (picture.height, picture.width), len(picture.labels)
    traced = trace(network, framework, size, classes)
    program = _Program(network, framework, traced, classes)
    return Foreign(framework.name, traced.layers, picture, program, _notes(traced, types))


@aside()
def load(path: Path, weights: dict[str, Tensor], picture: Picture, builder: str) -> Foreign:
    """Return the network that `builder` (`net.py:build` or `package.net:build`) makes, with the
    weights that `path` holds.

    Raises:
        UsageError: there is no such function.
        ModelError: the function or the weights are not fit for this.
    """
    network = built(builder)
    names = network.state_dict().keys()
    if weights.keys() != names:  # a network may itself have a part that is called "module"
        inner = {unwrapped(name): name for name in names}
        weights = {inner.get(unwrapped(key), key): value for key, value in weights.items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError("bad_checkpoint", f"{path}: does not fit {builder}: {problem}") from error
    return from_module(network, picture)


def framework_of(network: nn.Module) -> Framework:
    """Tell by its neurons whose network it is.

    Raises:
        ModelError: `unsupported`: nobody's that we know.
    """
    for framework in FRAMEWORKS.values():
        if any(framework.owns(module) for module in network.modules()):
            return framework
    raise ModelError(
        "unsupported",
        f"{type(network).__name__}: has no neurons of {' or '.join(FRAMEWORKS)}, expected some",
    )


class _Program:
    """The module itself, run for one timestep from resting membranes."""

    def __init__(
        self, network: nn.Module, framework: Framework, traced: Traced, classes: int
    ) -> None:
        self.network, self.framework, self.traced = network, framework, traced
        self.classes = classes
        modules = dict(network.named_modules())
        self.neurons = {layer: modules[name] for layer, name in traced.neurons.items()}

    @aside()
    def __call__(self, images: Tensor) -> tuple[Spikes, Tensor]:
        images = images.reshape(self.traced.shape)
        received: dict[str, Tensor] = {}
        spikes: Spikes = {}
        fired = (each for each in self.traced.layers.layers if isinstance(each, Fired))
        several = {each.name for each in fired if each.higher}
        hooks = [
            module.register_forward_hook(_recorder(layer, received, spikes, layer in several))
            for layer, module in self.neurons.items()
        ]
        self.framework.reset(self.network)
        try:
            answer = self.network(images)
        except Exception as error:  # the user's own code can raise anything
            problem = " ".join(str(error).split())[:200]
            raise ModelError(
                "unsupported", f"{type(self.network).__name__}: cannot be run ({problem})"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        return spikes, self._logits(images, answer, received)

    def _logits(self, images: Tensor, answer: Any, received: dict[str, Tensor]) -> Tensor:
        output = self.traced.layers.output
        fired = {la.name: la for la in self.traced.layers.layers if isinstance(la, Fired)}
        if output in fired:
            last = fired[output]
            gain, rest = (torch.from_numpy(np.asarray(v)).float() for v in (last.gain, last.rest))
            return received[output] * gain + rest
        head = self.traced.head
        if head is not None:
            answer = value_of(self.network, self.framework, self.traced.graph, images, head.before)
        else:
            for key in self.traced.place:
                answer = answer[key]
        logits: Tensor = answer.reshape(-1, self.classes)
        return logits


def _recorder(
    layer: str, received: dict[str, Tensor], spikes: Spikes, several: bool
) -> Callable[..., None]:
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        fired = output[0] if isinstance(output, tuple) else output
        current = inputs[0]
        if several_steps(module):
            fired, current = fired[0], current[0]
        received[layer] = current
        spikes[layer] = fired.byte().numpy() if several else (fired != 0).numpy()

    return record


def _notes(traced: Traced, types: list[str]) -> tuple[str, ...]:
    notes = [f"the module holds {each}, and was read and compared in float32" for each in types]
    notes += readout_notes(traced.layers)
    if traced.head is not None:
        kinds = " and ".join(traced.head.kinds)
        notes.append(f"{kinds} behind the logits is left out: it keeps the order of the classes")
    return tuple(notes)
