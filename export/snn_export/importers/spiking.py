"""What one timestep makes of another framework's neuron, and how to ask it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snn_export.fold import Array
from snn_export.importers.layers import unsupported

INPUTS = ("input_", "x", "x_seq")
"""What snnTorch and SpikingJelly call what a neuron receives."""


@dataclass(frozen=True, eq=False)
class Neuron:
    """Fires where a x + v₀ > θ, or ≥ θ if closed, once a level; see `layers.Fired`."""

    threshold: Array
    gain: Array
    rest: Array
    closed: bool
    gives_pair: bool = False
    """Returns spikes and membrane."""
    higher: tuple[tuple[Array, bool], ...] = ()
    resets_at_once: bool = False
    """The membrane that it returns is the one after the reset."""


@dataclass(frozen=True)
class Framework:
    """A package whose neurons can be read."""

    name: str
    packages: tuple[str, ...]
    """In which its neurons are defined, or a single module each in older versions."""
    neuron: Callable[[str, nn.Module], Neuron]
    """By name and module; raises ModelError for a neuron that one timestep cannot express."""
    reset: Callable[[nn.Module], None]
    """Forgets the membranes of a whole network."""

    def owns(self, module: nn.Module) -> bool:
        """Whether the module is one of the package's neurons, or derived from one."""
        homes = [base.__module__ for base in type(module).__mro__]
        return any(within(home, package) for home in homes for package in self.packages)


def within(module: str, package: str) -> bool:
    """Whether a dotted name is that of `package` or of something in it."""
    return module == package or module.startswith(f"{package}.")


def given_to(args: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What a neuron is called with, first or by the name that it has there."""
    return args[0] if args else next((named[each] for each in INPUTS if each in named), None)


def several_steps(module: nn.Module) -> bool:
    """Whether a module takes an axis of time in front."""
    name = type(module).__name__
    by_name = name.startswith("MultiStep") or name == "SeqToANNContainer"
    return by_name or getattr(module, "step_mode", "s") == "m"


def fires_at_zero(name: str, step: Callable[[Tensor], Tensor]) -> bool:
    """Ask a surrogate, whose forward pass is to be a step, which side zero falls on.

    Raises:
        ModelError: `unsupported`: it is no step from 0 to 1 at 0.
    """
    with torch.no_grad():
        answers = step(torch.tensor([[-1e3, -0.5, -1e-6, 0.0, 1e-6, 0.5, 1e3]])).flatten().tolist()
    if answers == [0, 0, 0, 1, 1, 1, 1]:
        return True
    if answers == [0, 0, 0, 0, 1, 1, 1]:
        return False
    raise unsupported(name, f"its spike function gives {answers}, expected a step from 0 to 1")
