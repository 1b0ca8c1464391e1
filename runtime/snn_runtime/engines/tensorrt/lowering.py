"""SpikingGraph to ONNX for TensorRT, in three forms that spike alike: see `arithmetic` for why.

    image → Cast → Transpose → Sub(m)               the picture: uint8 may go nowhere but into Cast

    int8   Conv | Gemm (+ −θ) → Relu → Quantize(1/512) → Dequantize(1/127)        a population
           MaxPool → Quantize(s) → Dequantize(s)                                  a pool: OR
           AveragePool → Quantize(1/k²) → Dequantize(1)                           a pool: a count
    fp16   Conv | Gemm in float16 → Cast → Greater(θ) → Cast                      a population
    fp32   Conv | Gemm → Greater(θ) → Cast                                        a population
           MaxPool, or Conv with ones                                             pools of both

    Gemm → sums                                     the readout, in float32 or int8

TensorRT's rules, each learnt by a refusal: zero points are 0 and of int8 (a uint8 one is read as
int8 with no more than a warning), so spikes are not 255 but 127; what is negative must be cut off
before it is quantised; a bias is float32, since DequantizeLinear takes no int32; QLinearConv and
ConvInteger do not exist. Weights are float32 integers behind Quantize and Dequantize of scale 1,
because TensorRT before 10 expects the pair.

The readout's scale and bias are the caller's: a compiler that fuses a · x + b rounds once where the
interpreter rounds twice.
"""

from collections.abc import Callable
from typing import Literal

from onnx import ModelProto

from snn_runtime.engines.tensorrt.floats import Floats
from snn_runtime.engines.tensorrt.half import Half
from snn_runtime.engines.tensorrt.int8 import Int8
from snn_runtime.graph import Pool, SpikingGraph

Form = Literal["int8", "fp16", "fp32"]

LOWERING = 1
"""Version of what this module makes; engines of another are built anew."""

_FORMS: dict[Form, Callable[[SpikingGraph], Floats]] = {
    "int8": Int8,
    "fp16": Half,
    "fp32": Floats,
}


def lower(graph: SpikingGraph, form: Form, *, watch: bool = False) -> ModelProto:
    """Return the ONNX model that computes `graph`; networks of float32 weights have only `fp32`.

    Args:
        graph: Any.
        form: The arithmetic.
        watch: Let every population's `name/fires` (bool) be an output as well.
    """
    assert graph.exact or form == "fp32"
    lowering = _FORMS[form](graph)
    lowering.image()
    for node in graph.nodes:
        if isinstance(node, Pool):
            lowering.pool(node)
        else:
            lowering.population(node)
    lowering.readout(graph.readout)
    if watch:
        for node in graph.populations:
            lowering.watch(node.name)
    return lowering.nodes.model()
