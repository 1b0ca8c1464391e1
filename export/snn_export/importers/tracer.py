"""The program of a torch module, recorded with torch.fx."""

import inspect
import operator
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.parametrize import is_parametrized

from snn_export.importers.layers import unsupported
from snn_export.importers.program import SIZES, name_of
from snn_export.importers.spiking import Framework, several_steps, within
from snn_runtime.errors import ModelError

CONTAINERS = ("SeqToANNContainer", "MultiStepContainer", "StepModeContainer")
"""SpikingJelly's: modules one after another, at every timestep."""
LIBRARY = ("spikingjelly.activation_based.layer", "spikingjelly.clock_driven.layer")
ONE_TIMESTEP = (
    "give a module whose forward is one timestep, without loops over time or branches on values"
)

IN_PLACE = (
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv,
    operator.imod, operator.ipow, operator.iand, operator.ior, operator.ixor,
)  # fmt: skip
"""Of which torch.fx alone would record x = x + y for x += y, and other names of x would be left."""


class ShapeError(fx.proxy.TraceError):
    """What forward does depends on a shape."""


def graph_of(network: nn.Module, framework: Framework) -> fx.Graph:
    """Record what `network.forward` calls; neurons and library layers are not looked into.

    Raises:
        ModelError: `unsupported`: forward decides by values or shapes what to do, or wants more
            than the picture.
    """
    tracer = _Tracer(framework)
    try:
        return tracer.trace(network)
    except ModelError:
        raise
    except Exception as error:  # the user's own code can raise anything
        problem = f"{_line_of(error)}{' '.join(str(error).split())[:150]}"
        shape = "leave that line out: pictures come in batches, all of the one size"
        remedy = shape if isinstance(error, ShapeError) else ONE_TIMESTEP
        raise ModelError(
            "unsupported",
            f"{type(network).__name__}.forward cannot be traced ({problem}); {remedy}",
        ) from error


def _line_of(error: Exception) -> str:
    """The line of the user's code that raised it, if any did."""
    here, library = Path(__file__), Path(torch.__file__).parent
    frames = [
        (Path(each.filename), each.lineno) for each in traceback.extract_tb(error.__traceback__)
    ]
    own = [each for each in frames if each[0] != here and library not in each[0].parents]
    return f"{own[-1][0].name} line {own[-1][1]}: " if own else ""


def _of_shapes(node: fx.Node) -> bool:
    """Whether a value depends on the pictures by shapes alone."""
    left, seen = [node], set[fx.Node]()
    while left:
        each = left.pop()
        if each in seen or name_of(each) in SIZES:
            continue
        if each.op == "call_module" or not each.all_input_nodes:
            return False
        seen.add(each)
        left += each.all_input_nodes
    return True


class _Proxy(fx.Proxy):
    """Records x += y as what it is."""


def _recorded(function: Callable[..., Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    def record(self: fx.Proxy, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for each in IN_PLACE:
    setattr(_Proxy, f"__{each.__name__}__", _recorded(each))


class _Tracer(fx.Tracer):
    def __init__(self, framework: Framework) -> None:
        super().__init__()
        self.framework = framework

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Forward is given the picture: all else has its default, which is no unknown."""
        picture = self.create_proxy("placeholder", "picture", (), {})
        try:
            inspect.signature(root_fn).bind(self.root, picture)
        except TypeError as error:
            raise unsupported(
                "forward", f"takes more than the picture ({error}); give the rest a default"
            ) from error
        return root_fn, [self.root, picture]

    def to_bool(self, obj: fx.Proxy) -> bool:
        if _of_shapes(obj.node):
            raise ShapeError("an if or assert there depends on the shape of a tensor")
        return super().to_bool(obj)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if self.framework.owns(m):
            return True
        if type(m).__name__ in (*CONTAINERS, "ConvBatchNorm2d"):
            return False
        kind = type(m)
        if is_parametrized(m):  # weight_norm and its like put a class of torch's over the module's
            kind = kind.__bases__[0]
        if any(within(kind.__module__, package) for package in LIBRARY):
            return True
        return within(kind.__module__, "torch.nn") and not isinstance(m, nn.Sequential)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if type(m).__name__ in CONTAINERS:  # their own forward counts timesteps, no proxy can

            def forward(x: Any) -> Any:
                return _contained(m, x)

        return super().call_module(m, forward, args, kwargs)


def _contained(container: nn.Module, x: Any) -> Any:
    """What a container does at one timestep: its parts see no axis of time."""
    timed = type(container).__name__ != "StepModeContainer" or several_steps(container)
    x = x.squeeze(0) if timed else x
    for part in container.children():
        x = part(x)
    return x.unsqueeze(0) if timed else x
