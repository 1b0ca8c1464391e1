"""A check of a protobuf's bytes before the parser allocates memory for them.

Two bytes can stand for an empty message of two hundred bytes in memory, so half a gigabyte of them
would take all the memory of a server. Only `raw_data` may be large: everything else is counted, in
every message that the parser knows, however deep it lies.

    ModelProto.graph = 7 ► GraphProto.initializer = 5 ► TensorProto.raw_data = 9
"""

from functools import cache

from google.protobuf.descriptor import Descriptor
from onnx import ModelProto

from snn_runtime.errors import ModelError

MAX_STRUCTURE = 4 * 2**20
"""Bytes outside of raw_data; 4,096 nodes with their names take a quarter of it."""
MAX_FIELDS = 150_000
"""Fields of all messages, which bounds the time, and the memory of empty ones; 4,096 nodes with all
that belongs to them have 113,000."""
_PATH: tuple[int, ...] = (7, 5, 9)
"""The way to the only large field."""
_OFF: tuple[int, ...] = (-1,)
"""A way that leads to none."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@cache
def _nested() -> dict[str, dict[int, str]]:
    """For each type of message, the number and type of the fields that are messages themselves."""
    known: dict[str, dict[int, str]] = {}
    kinds: list[Descriptor] = [ModelProto.DESCRIPTOR]
    for kind in kinds:  # which grows
        own = {field.number: field.message_type for field in kind.fields if field.message_type}
        known[kind.full_name] = {number: each.full_name for number, each in own.items()}
        kinds += [each for each in own.values() if each not in kinds]
    return known


def check_wire(data: bytes) -> None:
    """Refuse bytes that are not a protobuf, or hold too much besides weights.

    Raises:
        ModelError: `not_a_model` or `too_large`.
    """
    try:
        structure = _structure(data)
    except (IndexError, ValueError) as error:
        raise ModelError("not_a_model", "is damaged, cut off, or no ONNX file at all") from error
    if structure > MAX_STRUCTURE:
        raise ModelError(
            "too_large",
            f"holds over {MAX_STRUCTURE // 2**20} MiB of structure besides its weights, or over "
            f"{MAX_FIELDS:,} fields",
        )


def _structure(data: bytes) -> int:
    """Bytes outside of raw_data, or anything above the limit once it is passed."""
    total = fields = 0
    messages = _nested()
    # Start, end and type of the messages to look into, and what leads from there to raw_data.
    pending = [(0, len(data), ModelProto.DESCRIPTOR.full_name, _PATH)]
    while pending:
        at, end, kind, path = pending.pop()
        nested = messages[kind]
        while at < end:
            start = at
            key, at = _varint(data, at)
            at, body = _skip(data, at, key & 7)
            if at > end:
                raise ValueError("a field reaches past its message")
            fields += 1
            number = key >> 3
            if key & 7 == _BYTES and number in nested:
                total += body - start
                pending.append((body, at, nested[number], path[1:] if path[0] == number else _OFF))
            else:
                total += (body if key & 7 == _BYTES and path == (number,) else at) - start
            if total > MAX_STRUCTURE or fields > MAX_FIELDS:
                return MAX_STRUCTURE + 1
    return total


def _skip(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """Return where the field's value ends and where it begins."""
    if kind == _VARINT:
        return _varint(data, at)[1], at
    if kind == _BYTES:
        size, body = _varint(data, at)
        return body + size, body
    if kind in (_FIXED64, _FIXED32):
        return at + (8 if kind == _FIXED64 else 4), at
    raise ValueError(f"wire type {kind} is not used in ONNX")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
