"""A check of a protobuf's bytes before the parser allocates memory for them.

Two bytes can stand for an empty message of a hundred bytes in memory, so half a gigabyte of them
would take all the memory of a server. Only `raw_data` may be large: everything else is counted.

    ModelProto.graph = 7 ► GraphProto.initializer = 5 ► TensorProto.raw_data = 9
"""

from snn_runtime.errors import ModelError

MAX_STRUCTURE = 4 * 2**20
"""Bytes outside of raw_data; 4,096 nodes with their names take a quarter of it."""
MAX_FIELDS = 100_000
"""Fields that are read, which bounds the time."""
_PATH = (7, 5, 9)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


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
            "too_large", f"holds over {MAX_STRUCTURE // 2**20} MiB of structure besides its weights"
        )


def _structure(data: bytes) -> int:
    """Bytes outside of raw_data, or anything above the limit once it is passed."""
    total = fields = 0
    pending = [(0, len(data), 0)]  # start, end and depth on the path of messages to look into
    while pending:
        at, end, depth = pending.pop()
        while at < end:
            start = at
            key, at = _varint(data, at)
            at, body = _skip(data, at, key & 7)
            if at > end:
                raise ValueError("a field reaches past its message")
            fields += 1
            if key & 7 == _BYTES and key >> 3 == _PATH[depth]:
                total += body - start
                if depth + 1 < len(_PATH):
                    pending.append((body, at, depth + 1))
            else:
                total += at - start
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
