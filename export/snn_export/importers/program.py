"""The program of a torch module, recorded with torch.fx: which calls it makes, on what."""

from torch import fx, nn

from snn_export.importers.modular import CONTAINERS
from snn_export.importers.spiking import Framework
from snn_runtime.errors import ModelError


def graph_of(network: nn.Module, framework: Framework) -> fx.Graph:
    """Record what `network.forward` calls; neurons and library layers are not looked into.

    Raises:
        ModelError: `unsupported`: forward decides by values what to do.
    """
    tracer = _Tracer(framework)
    try:
        return tracer.trace(network)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        problem = " ".join(str(error).split())[:150]
        raise ModelError(
            "unsupported",
            f"{type(network).__name__}.forward cannot be traced ({problem}); give a module whose "
            "forward is one timestep, without loops over time or branches on values",
        ) from error


class _Tracer(fx.Tracer):
    def __init__(self, framework: Framework) -> None:
        super().__init__()
        self.framework = framework

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if self.framework.owns(m) or type(m).__name__ in CONTAINERS:
            return True
        library = type(m).__module__.startswith("spikingjelly.activation_based.layer")
        return library or super().is_leaf_module(m, module_qualified_name)
