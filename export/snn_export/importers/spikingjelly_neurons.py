"""SpikingJelly's neurons at one timestep. A membrane starts at v_reset, or at 0 if that is None.

IFNode               h = v₀ + x
LIFNode              h = v₀ + x/τ    or, decay_input=False,    h = v₀ + x
ParametricLIFNode    the same with 1/τ = sigmoid(w)

spike if h ≥ v_threshold: equality fires
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from snn_export.importers.layers import unsupported
from snn_export.importers.spiking import Framework, Neuron, fires_at_zero

PACKAGE = "spikingjelly.activation_based"
KNOWN = ("IFNode", "SimpleIFNode", "LIFNode", "SimpleLIFNode", "ParametricLIFNode")


def _neuron(name: str, module: nn.Module) -> Neuron:
    kind = type(module).__name__
    if not type(module).__module__.startswith(f"{PACKAGE}.neuron.") or kind not in KNOWN:
        raise unsupported(name, f"{kind} is none of SpikingJelly's {', '.join(KNOWN)}")
    gain = 1.0
    if kind not in ("IFNode", "SimpleIFNode") and module.decay_input:
        gain = _decay(module)
    rest: Any = module.v_reset
    if kind.startswith("Simple"):  # their membranes start at 0 and leak towards v_reset
        if rest not in (None, 0.0):
            raise unsupported(name, f"{kind} has v_reset {rest}, expected 0 or None")
        rest = None
    start = 0.0 if rest is None else float(rest)
    surrogate = module.surrogate_function
    assert callable(surrogate)
    closed = fires_at_zero(name, surrogate)
    threshold = np.asarray(module.v_threshold, np.float64)
    return Neuron(threshold, np.asarray(gain), np.asarray(start), closed)


def _decay(module: nn.Module) -> float:
    """1/τ"""
    if type(module).__name__ == "ParametricLIFNode":
        assert isinstance(module.w, torch.Tensor)
        return float(module.w.detach().sigmoid())
    return 1 / float(module.tau)  # type: ignore[arg-type]  # attributes of foreign modules are untyped


def _reset(network: nn.Module) -> None:
    for module in network.modules():
        if hasattr(module, "reset") and type(module).__module__.startswith(PACKAGE):
            module.reset()  # type: ignore[operator]  # attributes of foreign modules are untyped


FRAMEWORK = Framework("spikingjelly", f"{PACKAGE}.neuron", _neuron, _reset)
