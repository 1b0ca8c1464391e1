"""A dense INT8 network in an ONNX file, as `export-snn --dense` writes it: what it says of itself.

Such a file is an ordinary one, for ordinary engines: one input, float32 `[N, 3, H, W]`, one output,
the logits. Its metadata says what the pixels are divided by and how accurate it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, StringStringEntryProto, TensorProto

from snn_runtime.errors import ModelError
from snn_runtime.graph import Fit
from snn_runtime.graph.annotations import parse_json
from snn_runtime.model_file import gate
from snn_runtime.model_file.wire import check_wire
from snn_runtime.text import printable

SPIKING = "snn.schema"
"""Only files of spiking networks have this key."""
Colours = tuple[float, float, float]


@dataclass(frozen=True)
class Measured:
    """What `export-snn --dense` measured before it wrote the file."""

    offset: Colours
    deviation: Colours
    """The input is (pixel − offset) / deviation, a colour each, in grey levels."""
    fit: Fit
    accuracy: float
    """Of the INT8 network, 0 to 1."""
    test_images: int
    multiply_adds: int


@dataclass(frozen=True)
class DenseFile:
    """A dense network's input, and what its file says of it."""

    height: int
    width: int
    measured: Measured | None
    """None where `export-snn` has not written the file."""


def describe(model: ModelProto, facts: Mapping[str, Any]) -> None:
    """Write `facts` into the model's metadata, as JSON."""
    text = json.dumps(facts, ensure_ascii=False)
    model.metadata_props.append(StringStringEntryProto(key=gate.DENSE, value=text))


def read_dense(path: Path) -> DenseFile | None:
    """Return what a dense network's file says, or None if the file is a spiking network's.

    Raises:
        ModelError: It is no ONNX file, has another input than float32 `[N, 3, H, W]`, or odd facts.
    """
    try:
        data = gate.read_bytes(path)
        check_wire(data)  # or 64 MiB of empty nodes would become gigabytes
        model = ModelProto.FromString(data)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        if SPIKING in metadata:
            return None
        height, width = _size(model.graph)
        text = metadata.get(gate.DENSE)
        return DenseFile(height, width, None if text is None else _measured(text))
    except (DecodeError, UnicodeDecodeError) as error:
        name = printable(str(path))
        raise ModelError("not_a_model", f"{name}: is damaged, or no ONNX file at all") from error
    except ModelError as error:
        raise ModelError(error.code, f"{printable(str(path))}: {error.message}") from error


def _size(graph: GraphProto) -> tuple[int, int]:
    """Height and width of the one input."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) == 1 and inputs[0].type.tensor_type.elem_type == TensorProto.FLOAT:
        shape = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
        if len(shape) == 4 and shape[1] == 3 and min(shape[2:]) > 0:
            return shape[2], shape[3]
    raise ModelError(
        "bad_model",
        "is neither a spiking network nor a dense one with one input, float32 [N, 3, height, "
        "width] with its height and width, as the files of export-snn --dense have",
    )


def _measured(text: str) -> Measured:
    facts: Any = parse_json(gate.DENSE, text)
    try:
        pixels, accuracy = facts["input"], facts["accuracy"]
        offset, deviation = _colours(pixels["offset"]), _colours(pixels["deviation"])
        if min(deviation) <= 0 or pixels["fit"] not in get_args(Fit):
            raise ValueError
        share, counts = accuracy["exported"], (accuracy["images"], facts["multiply_adds"])
        if not 0 <= share <= 1 or any(type(n) is not int or n < 0 for n in counts):
            raise ValueError
        return Measured(offset, deviation, pixels["fit"], float(share), *counts)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ModelError("bad_model", f"its {gate.DENSE} are not export-snn's") from error


def _colours(values: Any) -> Colours:
    """Raises: TypeError, ValueError: not three numbers; NaN and infinity are none in JSON."""
    if any(isinstance(value, bool | str) for value in values):
        raise TypeError
    red, green, blue = map(float, values)
    return red, green, blue
