"""snnTorch's neurons at one timestep, membranes at zero.

    Leaky      U = β·0 + I                      spike if U − θ > 0
    Lapicque   U = I R Δt/(R C) + (1 − …)·0     spike if U − θ > 0

The reset acts one step later or, with reset_delay=False, on the membrane that is returned and on no
spike. Equality stays silent.
"""

import numpy as np
from torch import Tensor, nn

from snn_export.fold import Array
from snn_export.importers.layers import unsupported
from snn_export.importers.spiking import Framework, Neuron, fires_at_zero

KNOWN = ("Leaky", "Lapicque")


def _neuron(name: str, module: nn.Module) -> Neuron:
    kind = type(module).__name__
    if not type(module).__module__.startswith("snntorch.") or kind not in KNOWN:
        raise unsupported(name, f"{kind} is none of snnTorch's {' and '.join(KNOWN)}")
    _check(name, kind, module)
    threshold = _numbers(module.threshold)
    gain = np.ones(())
    if kind == "Lapicque":
        resistance, capacity, interval = (
            _numbers(getattr(module, part)) for part in ("R", "C", "time_step")
        )
        gain = np.asarray(resistance * (1 / (resistance * capacity)) * interval)
    surrogate = module.spike_grad
    assert callable(surrogate)
    closed = fires_at_zero(name, surrogate)
    returns_pair = bool(module.output) or not module.init_hidden
    resets = not getattr(module, "reset_delay", True) and module.reset_mechanism != "none"
    return Neuron(threshold, gain, np.zeros(()), closed, returns_pair, resets_at_once=resets)


def _check(name: str, kind: str, module: nn.Module) -> None:
    if getattr(module, "inhibition", False):
        raise unsupported(name, f"{kind} with inhibition lets one neuron of the layer fire only")
    if getattr(module, "state_quant", False):
        raise unsupported(name, f"{kind} with state_quant rounds its membrane")
    factor = _numbers(module.graded_spikes_factor)
    if (factor != 1).any():
        raise unsupported(name, f"{kind} has graded_spikes_factor {factor.ravel()[:3]}, not 1")


def _reset(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(getattr(module, "mem", None), Tensor) and hasattr(module, "reset_mem"):
            module.reset_mem()  # type: ignore[operator]  # attributes of foreign modules are untyped


def _numbers(value: Tensor | nn.Module) -> Array:
    assert isinstance(value, Tensor)
    return value.detach().double().numpy()


FRAMEWORK = Framework("snntorch", ("snntorch",), _neuron, _reset)
