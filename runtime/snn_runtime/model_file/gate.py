"""The model gate: what a file must be before a network is looked for in it.

A model is data: it names no other file, defines no function, holds no loop, and uses only the
operations that `writer` writes. All else is refused.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

from snn_runtime import door
from snn_runtime.errors import InputError, ModelError
from snn_runtime.model_file.wire import check_wire
from snn_runtime.onnx_build.messages import IR_VERSIONS

MAX_BYTES = 512 * 2**20
MAX_NODES = 4096
MAX_PARAMETERS = 256 * 10**6
OPERATIONS = frozenset(
    "Add Cast Conv DequantizeLinear Flatten Gemm Greater MaxPool Mul Sub Transpose".split()
)
DENSE = "dnn.facts"
"""Metadata that only files of `export-snn --dense` have."""

_LOOKS_LIKE = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x80\x02", "a Python pickle"),
    (b"ftrt", "a TensorRT engine; give the model.onnx it was built from"),
    (b"ptrt", "a TensorRT engine; give the model.onnx it was built from"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"<", "HTML or XML, perhaps an error page saved instead of the model"),
    (b"{", "JSON"),
)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a regular file of acceptable size.

    Raises:
        ModelError: `unreadable`, `not_a_model` or `too_large`.
    """
    try:
        data = door.read(path, MAX_BYTES)
    except InputError as error:
        code = "too_large" if error.code == "too_many_bytes" else "unreadable"
        raise ModelError(code, error.message) from error
    check_size(len(data))
    return data


def check_size(size: int) -> None:
    """Raises: ModelError: `not_a_model` if empty, `too_large` if over the limit."""
    if not size:
        raise ModelError("not_a_model", "is empty")
    if size > MAX_BYTES:
        raise ModelError("too_large", f"has {size:,} bytes, limit is {MAX_BYTES:,}")


def parse(data: bytes) -> ModelProto:
    """Return the message in `data` if it is data and nothing else.

    Raises:
        ModelError: `not_a_model`, `too_large`, `needs_newer_runtime` or `forbidden`.
    """
    check_size(len(data))
    _check_appearance(data)
    check_wire(data)
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError("not_a_model", "is damaged, cut off, or no ONNX file at all") from error
    _check_text(model)
    if any(entry.key == DENSE for entry in model.metadata_props):
        raise ModelError(
            "bad_model",
            "is a dense network of export-snn --dense, not a spiking one: run it in ONNX Runtime "
            "or OpenVINO, or race it with snn-bench --against",
        )
    _check_versions(model)
    _check_parts(model)
    for node in model.graph.node:
        _check_node(node)
    _check_tensors(model)
    return model


def _check_appearance(data: bytes) -> None:
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, what in _LOOKS_LIKE:
        if head.startswith(magic):
            if magic == b"PK\x03\x04" and b"data.pkl" in data[:4096]:
                what = "a PyTorch checkpoint (.pt); export-snn makes a model of it"
            raise ModelError("not_a_model", f"is not an ONNX file: it looks like {what}")


def _check_text(model: ModelProto) -> None:
    # Where a string is not UTF-8, the protobuf library hands out bytes in its place, or raises.
    try:
        whole = all(isinstance(text, str) for text in _texts(model))
    except UnicodeDecodeError:
        whole = False
    if not whole:
        raise ModelError("not_a_model", "is damaged: a name in it is not text")


def _texts(model: ModelProto) -> Iterator[object]:
    """Every string that is looked at in what follows."""
    graph = model.graph
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    for opset in model.opset_import:
        yield opset.domain
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node[: MAX_NODES + 1]:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name


def _check_versions(model: ModelProto) -> None:
    if not model.ir_version or not model.opset_import:
        raise ModelError("not_a_model", "is damaged, cut off, or no ONNX file at all")
    domains = sorted({entry.domain for entry in model.opset_import} - {""})
    if domains:
        raise ModelError("forbidden", f"uses operations of the custom domain {domains[0]!r:.80}")
    opset = max(entry.version for entry in model.opset_import)
    _check_version("opset", opset, max(IR_VERSIONS), *IR_VERSIONS)
    newest, expected = max(IR_VERSIONS.values()), IR_VERSIONS[opset]
    _check_version("IR version", model.ir_version, newest, expected)


def _check_version(what: str, version: int, newest: int, *expected: int) -> None:
    if version > newest:
        raise ModelError(
            "needs_newer_runtime",
            f"needs a newer runtime: {what} {version}, this one reads {newest}",
        )
    if version not in expected:
        wanted = " or ".join(map(str, expected))
        raise ModelError("forbidden", f"has {what} {version}, expected {wanted}")


def _check_parts(model: ModelProto) -> None:
    graph = model.graph
    unwanted = (
        ("functions", model.functions),
        ("training steps", model.training_info),
        ("sparse tensors", graph.sparse_initializer),
        ("quantization annotations", graph.quantization_annotation),
    )
    for what, part in unwanted:
        if part:
            raise ModelError("forbidden", f"holds {what}, which are not supported")
    if not graph.node:
        raise ModelError("not_a_model", "holds no network")
    if len(graph.node) > MAX_NODES:
        raise ModelError("too_large", f"has {len(graph.node):,} operations, limit is {MAX_NODES:,}")


def _check_node(node: NodeProto) -> None:
    if node.domain:
        raise ModelError("forbidden", f"op not allowed: {node.domain!r:.80}.{node.op_type!r:.80}")
    if node.op_type not in OPERATIONS:
        name = node.op_type if node.op_type.isidentifier() else repr(node.op_type)
        raise ModelError("forbidden", f"op not allowed: {name:.80}")
    for attribute in node.attribute:
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            raise ModelError("forbidden", "holds subgraphs, which are not supported")
        if attribute.HasField("t") or attribute.tensors:
            raise ModelError("forbidden", "holds tensors in attributes, which are not supported")


def _check_tensors(model: ModelProto) -> None:
    parameters = 0
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError("forbidden", "external data is not supported: a model is one file")
        parameters += _values(tensor)
    if parameters > MAX_PARAMETERS:
        raise ModelError("too_large", f"has {parameters:,} parameters, limit is {MAX_PARAMETERS:,}")


def _values(tensor: TensorProto) -> int:
    """How many numbers the tensor says it has; its bytes are counted when they are read."""
    dims = tensor.dims
    if len(dims) > 4 or any(not 0 <= size <= MAX_PARAMETERS for size in dims):
        raise ModelError(
            "forbidden", f"tensor {tensor.name!r:.80} has impossible dimensions {list(dims[:5])}"
        )
    return math.prod(dims)
