"""SpikingGraph to ONNX for TensorRT, in three forms that spike alike: see `arithmetic` for why.

    int8   Conv | Gemm (+ −θ) → Relu → Quantize(1/512) → Dequantize(1/127)        a population
           MaxPool → Quantize(s) → Dequantize(s)                                  a pool: OR
           AveragePool → Quantize(1/k²) → Dequantize(1)                           a pool: a count
    fp16   Conv | Gemm in float16 → Cast → Greater(θ) → Cast                      a population
    fp32   `Float32`, from which the other two differ in what is listed here; the image is always
           its: uint8 is accepted by Cast alone

TensorRT's rules, each with its test in `test_real_builder`:

  * zero points are 0 and int8. A uint8 one is read as int8 with only a warning, so a spike is 127;
  * negative values are cut off before they are quantised;
  * a bias is float32, since DequantizeLinear takes no int32;
  * QLinearConv and ConvInteger do not exist;
  * before TensorRT 10, weights are float32 integers behind Quantize and Dequantize of scale 1.

The readout's scale and bias are the caller's: a compiler that fuses a · x + b rounds once where the
interpreter rounds twice.
"""

from collections.abc import Callable
from typing import Literal

from snn_runtime.engines.tensorrt.arithmetic import with_reachable_thresholds
from snn_runtime.engines.tensorrt.half import Half
from snn_runtime.engines.tensorrt.int8 import Int8
from snn_runtime.graph import SpikingGraph
from snn_runtime.onnx_build.float32 import Float32

Form = Literal["int8", "fp16", "fp32"]

LOWERING = 2
"""Version of these forms: a cached engine of another version is built again."""

_FORMS: dict[Form, Callable[[SpikingGraph], Float32]] = {
    "int8": Int8,
    "fp16": Half,
    "fp32": Float32,
}


def lower(graph: SpikingGraph, form: Form) -> Float32:
    """Return the operators that compute `graph` in an arithmetic, up to the outputs.

    Networks of float32 weights have only `fp32`.
    """
    assert graph.exact or form == "fp32"
    return _FORMS[form](with_reachable_thresholds(graph))
