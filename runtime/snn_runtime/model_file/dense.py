"""A dense INT8 network in an ONNX file, as `export-snn --dense` writes it: what it says of itself.

Such a file is an ordinary one, for ordinary engines: one input, float32 `[N, 3, H, W]`, one output,
the logits. Its metadata says what the pixels are divided by and how accurate it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from onnx import ModelProto, StringStringEntryProto, TensorProto

from snn_runtime.errors import ModelError
from snn_runtime.model_file import gate
from snn_runtime.text import printable

SPIKING = "snn.schema"
"""Only files of spiking networks have this key."""


@dataclass(frozen=True)
class DenseFile:
    """A dense network's input, and what its file says of it."""

    name: str
    """Of the input."""
    height: int
    width: int
    facts: Mapping[str, Any]
    """Empty where `export-snn` has not written the file."""


def describe(model: ModelProto, facts: Mapping[str, Any]) -> None:
    """Write `facts` into the model's metadata, as JSON."""
    text = json.dumps(facts, ensure_ascii=False)
    model.metadata_props.append(StringStringEntryProto(key=gate.DENSE, value=text))


def read_dense(path: Path) -> DenseFile | None:
    """Return what a dense network's file says, or None if the file is a spiking network's.

    Raises:
        ModelError: It is no ONNX file, or has other inputs than one of float32 `[N, 3, H, W]`.
    """
    name = printable(str(path))
    try:
        model = ModelProto.FromString(gate.read_bytes(path))
        keys = {entry.key: entry.value for entry in model.metadata_props}
        facts = json.loads(keys.get(gate.DENSE, "{}"))
    except ModelError as error:
        raise ModelError(error.code, f"{name}: {error.message}") from error
    except (DecodeError, ValueError) as error:
        raise ModelError("not_a_model", f"{name}: is damaged, or no ONNX file at all") from error
    if SPIKING in keys:
        return None
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    kinds = [value.type.tensor_type for value in inputs]
    shape = [dim.dim_value for dim in kinds[0].shape.dim] if len(kinds) == 1 else []
    image = len(shape) == 4 and shape[1] == 3 and min(shape[2:]) > 0
    if not image or kinds[0].elem_type != TensorProto.FLOAT or not isinstance(facts, dict):
        raise ModelError(
            "bad_model",
            f"{name}: has not one input of float32 [N, 3, height, width] with its size, as the "
            "files of export-snn --dense have; export it with such an input",
        )
    return DenseFile(inputs[0].name, shape[2], shape[3], facts)
