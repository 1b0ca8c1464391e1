"""SpikingJelly's neurons at one timestep. A membrane starts at v_reset, or at 0 if that is None.

IFNode               h = v₀ + x
LIFNode              h = v₀ + x/τ    or, decay_input=False,    h = v₀ + x
ParametricLIFNode    the same with 1/τ = sigmoid(w)
ILIFNode             h = x, and not a spike but round(clip(h / v_threshold, 0, D)) of them

spike if h ≥ v_threshold: equality fires. An ILIFNode's levels lie at ½, 1½, … times v_threshold; as
it rounds to even, every other one fires at its threshold too.

`activation_based` is one package in version 2 and one module before; `clock_driven`, older still,
has classes of their own for several timesteps, `MultiStepIFNode` and the like.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from snn_export.fold import Array
from snn_export.importers.layers import unsupported
from snn_export.importers.spiking import Framework, Neuron, fires_at_zero, within
from snn_runtime.graph.population import MAX_LEVELS

HOMES = ("spikingjelly.activation_based", "spikingjelly.clock_driven")
PACKAGES = tuple(f"{home}.neuron" for home in HOMES)
KNOWN = ("IFNode", "SimpleIFNode", "LIFNode", "SimpleLIFNode", "ParametricLIFNode", "ILIFNode")
SEVERAL = "MultiStep"


def _neuron(name: str, module: nn.Module) -> Neuron:
    written, home = type(module).__name__, type(module).__module__
    kind = written.removeprefix(SEVERAL)
    if kind not in KNOWN or not any(within(home, package) for package in PACKAGES):
        raise unsupported(name, f"{written} is none of SpikingJelly's {', '.join(KNOWN)}")
    gain = 1.0
    # The oldest versions have no decay_input: their input always decays.
    if kind not in ("IFNode", "SimpleIFNode") and getattr(module, "decay_input", True):
        gain = _decay(kind, module)
    rest: Any = module.v_reset
    if kind.startswith("Simple"):  # their membranes start at 0 and leak towards v_reset
        if rest not in (None, 0.0):
            raise unsupported(name, f"{kind} has v_reset {rest}, expected 0 or None")
        rest = None
    start = 0.0 if rest is None else float(rest)
    surrogate = module.surrogate_function
    assert callable(surrogate)
    threshold = np.asarray(module.v_threshold, np.float64)
    if kind == "ILIFNode":
        (first, closed), *higher = _steps(name, surrogate, threshold)
        return Neuron(first, np.asarray(gain), np.asarray(start), closed, higher=tuple(higher))
    closed = fires_at_zero(name, surrogate)
    return Neuron(threshold, np.asarray(gain), np.asarray(start), closed)


def _steps(name: str, count: Any, threshold: Array) -> list[tuple[Array, bool]]:
    """θ of every level of spikes that are rounded, and whether a spike comes at θ itself.

    Raises:
        ModelError: `unsupported`: more spikes than a neuron of a graph sends, or other steps.
    """
    most = int(count.max_spike_count)
    if most > MAX_LEVELS:
        raise unsupported(name, f"sends up to {most} spikes, a graph's neuron at most {MAX_LEVELS}")
    below = torch.arange(most, dtype=torch.float64)
    with torch.no_grad():
        beside, at = count(below[:, None] + torch.tensor([0.499, 0.501])), count(below + 0.5)
    rounds = torch.equal(beside, torch.stack([below, below + 1], 1))
    if not rounds or not bool(((at == below) | (at == below + 1)).all()):
        raise unsupported(name, "its spike function does not round, expected steps at ½, 1½, …")
    return [((k + 0.5) * threshold, bool(at[k] > k)) for k in range(most)]


def _decay(kind: str, module: nn.Module) -> float:
    """1/τ"""
    if kind == "ParametricLIFNode":
        assert isinstance(module.w, torch.Tensor)
        return float(module.w.detach().sigmoid())
    return 1 / float(module.tau)  # type: ignore[arg-type]  # attributes of foreign modules are untyped


def _reset(network: nn.Module) -> None:
    for module in network.modules():
        home = type(module).__module__
        if hasattr(module, "reset") and any(within(home, package) for package in HOMES):
            module.reset()  # type: ignore[operator]  # attributes of foreign modules are untyped


FRAMEWORK = Framework("spikingjelly", PACKAGES, _neuron, _reset)
