"""What a call in a program is, as a layer: modules by their kind, functions by what they do."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from snn_export.fold import Array
from snn_export.importers import probe
from snn_export.importers.bindings import Binding, Head, Membrane, Pair, Shape, Values
from snn_export.importers.joins import join
from snn_export.importers.layers import (
    Fired,
    Flattened,
    Pooled,
    Scaled,
    Weighted,
    unsupported,
)
from snn_export.importers.modular import layer_of, weights_or_norm
from snn_export.importers.program import PICTURES, SHAPES_ONLY, SIZES, name_of
from snn_export.pools import Window

POOLS: dict[object, type[nn.Module]] = {
    F.avg_pool2d: nn.AvgPool2d,
    F.max_pool2d: nn.MaxPool2d,
    torch.max_pool2d: nn.MaxPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    F.adaptive_max_pool2d: nn.AdaptiveMaxPool2d,
}
_MAXIMUM = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_MEAN = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
BEHIND: dict[object, tuple[str, ...]] = {
    F.linear: ("weight", "bias"),
    F.conv2d: ("weight", "bias", "stride", "padding", "dilation", "groups"),
    F.avg_pool2d: _MEAN,
    F.max_pool2d: _MAXIMUM,
    torch.max_pool2d: _MAXIMUM,
    F.adaptive_avg_pool2d: ("output_size",),
    F.adaptive_max_pool2d: ("output_size", "return_indices"),
}
"""Arguments behind `input` of the functions that are layers."""
AS_ANOTHER = ("type_as", "to", "view_as", "reshape_as", "expand_as")
"""Take a type or a shape from their second tensor."""


def read_call(values: Values, node: fx.Node, modules: dict[str, nn.Module]) -> Binding:
    """Return what the call gives, with new layers in `values` where it computes something.

    Raises:
        ModelError: `unsupported`, naming the function or module.
    """
    operands = [n for n in node.all_input_nodes if values.bindings[n] is not None]
    name = name_of(node)
    if not operands or name in SHAPES_ONLY:
        return None
    if name == "getitem" and isinstance(values.bindings[operands[0]], Pair):
        return _part_of_pair(values, node, operands[0])
    if not isinstance(values.run.values[node], (Tensor, list)):
        if name in SIZES:
            return None
        raise unsupported(node.name, f"{name} reads a layer's numbers, expected only its shape")
    if len(operands) > 1 and name not in AS_ANOTHER:
        return join(values, node, name)
    module = modules[str(node.target)] if node.op == "call_module" else None
    return _Call(values, node, operands[0], module).read()


def _part_of_pair(values: Values, node: fx.Node, pair: fx.Node) -> Binding:
    binding, index = values.bindings[pair], node.args[1]
    if not isinstance(binding, Pair) or not isinstance(index, int):
        raise unsupported(node.name, f"takes the part {index!r:.40} of spikes and membrane")
    part: str = binding[index]
    return part


class _Call:
    """A call that reads one layer."""

    def __init__(
        self, values: Values, node: fx.Node, operand: fx.Node, module: nn.Module | None
    ) -> None:
        self.values, self.node, self.operand, self.module = values, node, operand, module
        self.name = str(node.target) if module is not None else node.name
        self.kind = name_of(node) if module is None else type(module).__name__
        self.input_shape, self.output_shape = values.shape(operand), values.shape(node)

    def read(self) -> Binding:
        binding = self.values.argument(self.operand)
        if isinstance(binding, (Head, Membrane)):
            if probe.keeps(self.call, self.input_shape):
                return binding
            if probe.ordered(self.call, self.input_shape):
                return self._head(binding)
        source = self.values.layer(self.node, self.operand)
        if self.module is not None and weights_or_norm(self.module):
            return self._of_module(self.module, source)
        if probe.keeps(self.call, self.input_shape, most=self._most(source)):
            return self.values.same(self.name, source, self.output_shape)
        return (
            self._weighted(source)
            or self._reduced(source)
            or self._pooled(source)
            or self._scaled(source)
            or self._headed(source)
        )

    def _most(self, source: str) -> int:
        """The most spikes that `source` sends at once, 0 if it is no layer of neurons."""
        layer = next((la for la in self.values.layers if la.name == source), None)
        return 1 + len(layer.higher) if isinstance(layer, Fired) else 0

    def call(self, numbers: Tensor) -> Any:
        """Call it with other numbers than the layer's."""

        def argument(node: fx.Node) -> Any:
            if node is self.operand:
                return numbers
            value = self.values.run.values[node]
            if isinstance(value, Tensor) and value.is_meta:  # see AS_ANOTHER
                return torch.zeros_like(value, dtype=numbers.dtype, device="cpu")
            floats = isinstance(value, Tensor) and value.is_floating_point()
            return value.to(numbers.dtype) if floats else value

        args = fx.node.map_arg(self.node.args, argument)
        options = fx.node.map_arg(self.node.kwargs, argument)
        if self.module is not None:
            return self.module(*args, **options)
        if isinstance(self.node.target, str):
            return getattr(args[0], self.node.target)(*args[1:], **options)
        assert callable(self.node.target), "a function is called, or a method by its name"
        return self.node.target(*args, **options)

    def _constants(self) -> dict[str, Any] | None:
        """What else the function is given, by name; None if the layer is not its `input`."""
        names = ("input", *BEHIND[self.node.target])
        given = dict(zip(names, self.node.args, strict=False)) | self.node.kwargs
        if given.pop("input", None) is not self.operand or self.operand in given.values():
            return None
        constants = self.values.run.values
        return {key: fx.node.map_arg(each, lambda n: constants[n]) for key, each in given.items()}

    def _weighted(self, source: str) -> str | None:
        """A convolution or dense layer that is called as a function, with constant weights."""
        if self.module is not None or self.node.target not in (F.conv2d, F.linear):
            return None
        given = self._constants()
        if given is None:
            return None
        weight, bias = given.pop("weight"), given.pop("bias", None)
        if self.node.target is F.linear:
            module: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
        else:
            inputs, outputs = weight.shape[1] * given.get("groups", 1), weight.shape[0]
            kernel = tuple(weight.shape[2:])
            module = nn.Conv2d(inputs, outputs, kernel, bias=bias is not None, **given)
        module.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
        return self._of_module(module, source)

    def _of_module(self, module: nn.Module, source: str) -> str:
        own, maps = self.values.shapes[source], not isinstance(module, nn.Linear)
        fits = self.input_shape[-3:] == own if maps else self.input_shape[-1] == int(np.prod(own))
        norm = weights_or_norm(module) == "norm"
        if not fits and not norm:
            raise unsupported(
                self.name,
                f"{self.kind} reads values of shape {self.input_shape[1:]}, not "
                f"{'maps of channels, rows and columns' if maps else 'all in one row'}",
            )
        layer = layer_of(self.values.fresh(self.name), module, source, self.input_shape)
        given = own if norm else self.output_shape[-3:] if maps else self.output_shape[-1:]
        return self.values.add(layer, given)

    def _pooled(self, source: str) -> str | None:
        module = self.module
        if module is None and self.node.target in POOLS:
            options = self._constants() or {}
            options.pop("return_indices", None)
            module = POOLS[self.node.target](**options)
        pools = module is not None and isinstance(module, tuple(POOLS.values()))
        return self._of_module(module, source) if module is not None and pools else None

    def _reduced(self, source: str) -> str | None:
        """A mean, sum or maximum of whole maps; a vote of features that follow each other."""
        result = probe.reduction(self.call, self.input_shape)
        if result is None:
            return None
        kind, width = result
        flattened = next((la for la in self.values.layers if la.name == source), None)
        if isinstance(flattened, Flattened):
            shape = self.values.shapes[flattened.source]
            source = flattened.source if width == shape[1] * shape[2] else source
        shape, name = self.values.shapes[source], self.values.fresh(self.name)
        if len(shape) == 3 and width == shape[1] * shape[2]:
            height, width = shape[1:]
            whole = Window((height, width), (height, width))
            pooled = self.values.add(Pooled(name, source, kind, whole), (shape[0], 1, 1))
            return self.values.same(self.name, pooled, self.output_shape)
        if len(shape) == 1 and kind != "max" and shape[0] % width == 0:
            scale = 1 / width if kind == "average" else 1.0
            votes = np.kron(np.eye(shape[0] // width), np.full((1, width), scale))
            return self.values.add(Weighted(name, source, votes), votes.shape[:1])
        return None

    def _scaled(self, source: str) -> str | None:
        result = None if self.module is not None else probe.affine(self.call, self.input_shape)
        if result is None:
            return None
        own = self.values.shapes[source]
        gain, shift = (self._of_one_picture(numbers, own) for numbers in result)
        return self.values.add(Scaled(self.values.fresh(self.name), source, gain, shift), own)

    def _of_one_picture(self, numbers: Array, own: Shape) -> Array:
        each = numbers.reshape(PICTURES, *own)
        if (each != each[:1]).any():
            raise unsupported(self.name, f"{self.kind} treats pictures of one batch differently")
        return np.asarray(each[0])

    def _headed(self, source: str) -> Head:
        if len(self.values.shapes[source]) == 1 and probe.ordered(self.call, self.input_shape):
            return self._head(source)
        raise self._refusal(source)

    def _head(self, binding: Head | str) -> Head:
        if isinstance(binding, Head):
            return Head(binding.layer, binding.before, (*binding.kinds, self.kind))
        return Head(binding, self.operand, (self.kind,))

    def _refusal(self, source: str) -> Exception:
        if self.module is not None:
            layer_of(self.name, self.module, source, self.input_shape)
        own, inputs = self.input_shape[1:], int(np.prod(self.input_shape))
        outputs = int(np.prod(self.output_shape))
        if self.kind == "getitem":
            return unsupported(
                self.name,
                f"takes the part {self.node.args[1]!r:.40} of what {source} gives, whose shape "
                f"for {PICTURES} pictures is {self.input_shape}: no axis of time of length 1",
            )
        if outputs > inputs and self.output_shape[1 - len(self.input_shape) :] == own:
            return unsupported(
                self.name,
                f"{self.kind} gives its input {outputs // inputs} times: more than one timestep",
            )
        return unsupported(self.name, f"the function {self.kind} is not among what can be exported")
