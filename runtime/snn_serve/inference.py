"""The Open Inference Protocol, version 2, with its extension for binary tensors.

A model has one input, `images`: UINT8 `[N, height, width, 3]`, or BYTES `[N]`, each the bytes of a
picture file, in JSON as base64. Its outputs are `logits` FP32 and `probabilities` FP64, both
`[N, classes]`, `labels` BYTES `[N]`, and two BOOL `[N]`, `unsure` and `unfamiliar`: see `Answer`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime.answer import Answer
from snn_runtime.graph.ends import Image
from snn_runtime.model import Model
from snn_serve.bodies import from_base64, number_of, parsed_json
from snn_serve.refusal import bad_request

INPUT = "images"
OUTPUTS = {
    "logits": "FP32",
    "probabilities": "FP64",
    "labels": "BYTES",
    "unsure": "BOOL",
    "unfamiliar": "BOOL",
}
VERSION = "1"
HEADER = "inference-header-content-length"
LONGEST = 2**40
"""No tensor is longer, in any direction: limits are below. Python writes no thousands of digits."""


@dataclass(frozen=True)
class Asked:
    """What a client wants."""

    id: str | None
    images: npt.NDArray[np.uint8] | None
    """`[N, height, width, 3]`, or None, where there are pictures."""
    pictures: tuple[bytes, ...]
    outputs: dict[str, bool]
    """Whether each is to be binary."""

    @property
    def count(self) -> int:
        return len(self.pictures) if self.images is None else len(self.images)


def metadata(name: str, model: Model) -> dict[str, Any]:
    """Return what the protocol says of a model."""
    image, classes = model.graph.image, len(model.labels)
    shapes = {"logits": [-1, classes], "probabilities": [-1, classes]}
    return {
        "name": name,
        "versions": [VERSION],
        "platform": f"snn_{model.backend.name}",
        "inputs": [
            {"name": INPUT, "datatype": "UINT8", "shape": [-1, image.height, image.width, 3]}
        ],
        "outputs": [
            {"name": output, "datatype": kind, "shape": shapes.get(output, [-1])}
            for output, kind in OUTPUTS.items()
        ],
    }


def read(body: bytes, header_length: str | None, image: Image, most: int) -> Asked:
    """Return what a request asks for.

    Args:
        header_length: bytes of JSON, before those of binary tensors; None is all.
        most: images that may be asked about at once.

    Raises:
        Refusal: 400.
    """
    split = len(body) if header_length is None else number_of(header_length)
    if split is None or split > len(body):
        raise bad_request(f"{HEADER}: expected a number of bytes of the body")
    numbers = most * image.height * image.width * 3  # each of which may be in a list of its own
    fields = parsed_json(body[:split], numbers)
    name, inputs = fields.get("id"), fields.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise bad_request(f"inputs: expected one, {INPUT}")
    if name is not None and not isinstance(name, str):
        raise bad_request("id: expected a string")
    images, pictures = _input(inputs[0], body[split:], image)
    return Asked(name, images, pictures, _outputs(fields))


def _input(
    given: dict[str, Any], binary: bytes, image: Image
) -> tuple[npt.NDArray[np.uint8] | None, tuple[bytes, ...]]:
    kind, shape, data = given.get("datatype"), given.get("shape"), given.get("data")
    if given.get("name") != INPUT:
        raise bad_request(f"inputs[0].name: expected {INPUT}")
    if not isinstance(shape, list) or not all(type(n) is int and 0 < n <= LONGEST for n in shape):
        raise bad_request(f"{INPUT}.shape: expected a list of numbers from 1 to {LONGEST}")
    if size := _parameter(given, "binary_data_size"):
        if size != len(binary):
            raise bad_request(f"{INPUT}: {len(binary)} binary bytes came, {size} were announced")
    elif not isinstance(data, list) or binary:
        raise bad_request(f"{INPUT}: expected data, or parameters.binary_data_size")
    if kind == "BYTES":
        if len(shape) != 1:
            raise bad_request(f"{INPUT}.shape: expected [N] of BYTES")
        if size:
            return None, _elements(binary, shape[0])
        assert isinstance(data, list)
        if len(data) != shape[0]:  # none is decoded before that is known
            raise bad_request(f"{INPUT}: {len(data)} elements came, shape says {shape[0]}")
        return None, tuple(map(from_base64, data))
    if kind != "UINT8" or shape[1:] != [image.height, image.width, 3]:
        raise bad_request(
            f"{INPUT}: expected UINT8 of shape [N, {image.height}, {image.width}, 3], or BYTES"
        )
    return (_binary(binary, shape) if size else _numbers(data, shape)), ()


def _binary(binary: bytes, shape: list[int]) -> npt.NDArray[np.uint8]:
    if len(binary) != math.prod(shape):
        raise bad_request(f"{INPUT}: {len(binary)} bytes came, expected {math.prod(shape)}")
    return np.frombuffer(binary, np.uint8).reshape(shape)


def _numbers(data: Any, shape: list[int]) -> npt.NDArray[np.uint8]:
    """Data in JSON is nested as the shape, or flat.

    numpy is not asked which type that is: an array of texts has the longest one's room for each.
    """
    size = math.prod(shape)
    numbers = _flat(data, size)
    if len(numbers) != size or set(map(type, numbers)) != {int}:
        raise bad_request(f"{INPUT}.data: expected {size} whole numbers")
    try:
        return np.frombuffer(bytes(numbers), np.uint8).reshape(shape)
    except ValueError as error:
        raise bad_request(f"{INPUT}.data: expected numbers from 0 to 255") from error


def _flat(data: list[Any], size: int) -> list[Any]:
    """Return what lists of lists hold; nothing, where they are uneven or hold more than `size`.
    One level goes at a time, so that none is too deep."""
    while 0 < len(data) <= size and type(data[0]) is list:
        length = len(data[0])
        if set(map(type, data)) != {list} or set(map(len, data)) != {length}:
            return []
        if len(data) * length > size:
            return []
        data = list(chain.from_iterable(data))
    return data


def _elements(binary: bytes, count: int) -> tuple[bytes, ...]:
    """Each has its length before it, four bytes, little-endian."""
    if 4 * count > len(binary):
        raise bad_request(f"{INPUT}: {len(binary)} bytes are no {count} elements")
    found, place = [], 0
    for _ in range(count):
        start = place + 4
        place = start + int.from_bytes(binary[place:start], "little")
        if start > len(binary) or place > len(binary):
            raise bad_request(f"{INPUT}: an element is longer than the body")
        found.append(binary[start:place])
    if place != len(binary):
        raise bad_request(f"{INPUT}: more elements came, shape says {count}")
    return tuple(found)


def _parameter(of: dict[str, Any], name: str) -> Any:
    parameters = of.get("parameters", {})
    if not isinstance(parameters, dict):
        raise bad_request("parameters: expected an object")
    return parameters.get(name)


def _outputs(fields: dict[str, Any]) -> dict[str, bool]:
    usual = bool(_parameter(fields, "binary_data_output"))
    asked = fields.get("outputs")
    if asked is None:
        return dict.fromkeys(OUTPUTS, usual)
    if not isinstance(asked, list) or not all(isinstance(each, dict) for each in asked):
        raise bad_request("outputs: expected a list of objects")
    chosen = {}
    for each in asked:
        name, binary = each.get("name"), _parameter(each, "binary_data")
        if name not in OUTPUTS:
            raise bad_request(f"outputs: expected some of {', '.join(OUTPUTS)}")
        chosen[name] = usual if binary is None else bool(binary)
    return chosen


def written(
    name: str,
    asked: Asked,
    logits: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float64],
    answers: Sequence[Answer],
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and how much of it is JSON; None is all."""
    values: dict[str, npt.NDArray[Any]] = {
        "logits": logits,
        "probabilities": probabilities,
        "labels": np.array([answer.label for answer in answers], object),
        "unsure": np.array([answer.unsure for answer in answers]),
        "unfamiliar": np.array([answer.unfamiliar for answer in answers]),
    }
    outputs, binary = [], b""
    for output, is_binary in asked.outputs.items():
        value = values[output]
        shape = list(value.shape)
        described: dict[str, Any] = {"name": output, "datatype": OUTPUTS[output], "shape": shape}
        if is_binary:
            data = _packed(value)
            described["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            described["data"] = value.ravel().tolist()
        outputs.append(described)
    fields = {"model_name": name, "model_version": VERSION, "outputs": outputs}
    if asked.id is not None:
        fields["id"] = asked.id
    head = json.dumps(fields, allow_nan=False).encode()
    return (head + binary, len(head)) if binary else (head + b"\n", None)


def _packed(value: npt.NDArray[Any]) -> bytes:
    if value.dtype != object:
        return value.astype(value.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in value]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
