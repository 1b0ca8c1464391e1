"""ONNX graphs, built by operators that take values and return values.

operators  values, and ONNX's operators as functions of them, a model at the end
float32    a SpikingGraph in float32, from which every other form differs by what it overrides
int8       a dense float32 network in INT8
messages   protobuf's messages, filled field by field
"""

from snn_runtime.onnx_build.operators import BATCH, ModelProto, Operators, Value

__all__ = ["BATCH", "Operators", "ModelProto", "Value"]
