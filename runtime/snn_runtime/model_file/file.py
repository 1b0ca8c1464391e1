"""model.onnx: a SpikingGraph in one portable file, and the gate every such file passes.

Reading a file proves that it is exactly what writing its graph would make, so nothing in it is
unexplained, and engines are made from the graph, never from the stranger's bytes.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from onnx import ModelProto, StringStringEntryProto

from snn_runtime.calibration import UNCALIBRATED, Calibration
from snn_runtime.errors import ModelError, SnnError, VerifyError
from snn_runtime.files import write_atomic
from snn_runtime.graph import Fit, SpikingGraph
from snn_runtime.graph.annotations import parse_json
from snn_runtime.graph.nodes import SCHEMA
from snn_runtime.graph.reference import run
from snn_runtime.labels import MAX_LABELS
from snn_runtime.model_file import gate
from snn_runtime.model_file.reader import Tensors, to_graph
from snn_runtime.model_file.writer import NAME, emit, opset_of
from snn_runtime.onnx_build.operators import Array, Operators
from snn_runtime.proof.golden import golden_hash, golden_images, is_cheap
from snn_runtime.text import printable

LOG = logging.getLogger(__name__)
_KEYS = ("schema", "labels", "fit", "provenance", "digest", "golden")
_CALIBRATION = "calibration"
"""The last key of a file that is calibrated; others lack it."""


@dataclass(frozen=True)
class ModelFile:
    """The content of a model file."""

    graph: SpikingGraph
    digest: str
    """`graph.digest()`: identifies what computes, without provenance."""
    golden: str
    """Hash of the spikes that the golden images cause: see `golden`."""


def to_bytes(graph: SpikingGraph, *, golden: str | None = None) -> bytes:
    """Return the file for `graph`, always the same bytes.

    Args:
        golden: The golden hash, where it is known; None has the reference compute it, which for
            large networks takes minutes: the log says so first.

    Raises:
        ModelError: The gate would not read it back; `too_large`, most likely.
    """
    file = ModelFile(graph, graph.digest(), golden or golden_of(graph))
    data = _serialised(_with_metadata(emit(graph), file))
    _from_bytes(data)
    return data


def golden_of(graph: SpikingGraph) -> str:
    """Return the golden hash, as the reference computes it."""
    if not is_cheap(graph):
        LOG.info("computing the golden hash with the reference; it may take minutes")
    return golden_hash(run(graph, golden_images(graph.image)).spikes)


def write(graph: SpikingGraph, path: Path, *, golden: str | None = None) -> None:
    """Write `graph` to `path`, wholly or not at all; `golden` as in `to_bytes`."""
    write_atomic(path, to_bytes(graph, golden=golden))


def read(source: Path | bytes) -> SpikingGraph:
    """Return the graph in a file or in its bytes; see `read_file`."""
    return read_file(source).graph


def read_file(source: Path | bytes) -> ModelFile:
    """Pass `source` through the gate.

    Raises:
        ModelError: The file is refused; the message names it and says why.
        VerifyError: `self_test`, if the weights are not those the file was written with.
    """
    name = "the model" if isinstance(source, bytes) else printable(str(source))
    try:
        return _from_bytes(source if isinstance(source, bytes) else gate.read_bytes(source))
    except SnnError as error:
        raise type(error)(error.code, f"{name}: {error.message}") from error


def _with_metadata(model: ModelProto, file: ModelFile) -> ModelProto:
    graph = file.graph
    values = (
        str(graph.schema),
        json.dumps(graph.labels, ensure_ascii=False),
        graph.image.fit,
        graph.provenance,
        file.digest,
        file.golden,
    )
    entries = dict(zip(_KEYS, values, strict=True))
    if graph.calibration != UNCALIBRATED:
        entries[_CALIBRATION] = json.dumps(graph.calibration.record())
    model.metadata_props.extend(
        StringStringEntryProto(key=f"snn.{key}", value=value) for key, value in entries.items()
    )
    return model


def _serialised(model: ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


def _from_bytes(data: bytes) -> ModelFile:
    model = gate.parse(data)
    metadata = _metadata(model)
    tensors = Tensors(model.graph)
    file = _recognised(model, metadata, tensors)
    rewriting = Rewriting(file.graph, tensors.read)
    expected = _with_metadata(emit(file.graph, rewriting), file)
    for tensor in model.graph.initializer:
        if tensor.name in rewriting.same:
            tensor.raw_data = b""
    # Messages and not bytes are compared: the order of fields does not matter.
    if _serialised(expected) != _serialised(model):
        raise ModelError("bad_model", f"is not a network of export-snn: {_odd(model, expected)}")
    return file


class Rewriting(Operators):
    """Leaves out constants that were read from the file, each number from bits of its own. Copying
    weights twice, to compare them with themselves, would be half of the loading time."""

    def __init__(self, graph: SpikingGraph, read: Mapping[str, Array]) -> None:
        super().__init__(NAME, str(graph.schema), opset_of(graph))
        self._read = read
        self.same: set[str] = set()
        """Names of the constants left out."""

    def data(self, name: str, array: Array, element: int) -> bytes:
        read = self._read.get(name)
        if read is None or read.nbytes != array.nbytes or not np.may_share_memory(read, array):
            return super().data(name, array, element)
        self.same.add(name)
        return b""


def _recognised(model: ModelProto, metadata: Mapping[str, str], tensors: Tensors) -> ModelFile:
    labels = parse_json("labels", metadata["labels"], MAX_LABELS)
    fit = next((choice for choice in get_args(Fit) if choice == metadata["fit"]), None)
    if not isinstance(labels, list) or fit is None:
        raise ModelError("bad_model", "is not a network of export-snn: its labels or fit are odd")
    if not re.fullmatch("[0-9a-f]{64}", metadata["golden"]):
        raise ModelError("bad_model", "is not a network of export-snn: its golden hash is not one")
    calibration = _calibration(metadata)
    graph = to_graph(model.graph, tensors, tuple(labels), fit, metadata["provenance"], calibration)
    digest = graph.digest()
    if digest != metadata["digest"]:
        raise VerifyError(
            "self_test",
            "self-test failed: the weights are not those the file was written with, "
            "so it was damaged or edited; export it again",
        )
    return ModelFile(graph, digest, metadata["golden"])


def _calibration(metadata: Mapping[str, str]) -> Calibration:
    if _CALIBRATION not in metadata:
        return UNCALIBRATED
    record = parse_json(_CALIBRATION, metadata[_CALIBRATION])
    try:
        return Calibration.of(record)
    except ValueError as error:
        raise ModelError(
            "bad_model", f"is not a network of export-snn: {_CALIBRATION}: {error}"
        ) from error


def _metadata(model: ModelProto) -> dict[str, str]:
    """The values of all keys, after checking that this runtime is new enough for them."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    version = entries.get("snn.schema", "")
    if not re.fullmatch("[1-9][0-9]{0,5}", version):
        raise ModelError(
            "bad_model", "is an ONNX file, but not one written by export-snn (no snn.schema)"
        )
    if int(version) > SCHEMA:
        raise ModelError(
            "needs_newer_runtime",
            f"needs a newer runtime: schema {version}, this one reads {SCHEMA}",
        )
    if len(entries) != len(model.metadata_props):
        raise ModelError("bad_model", "has duplicate metadata")
    keys = (*_KEYS, _CALIBRATION)[: max(len(_KEYS), len(entries))]
    if tuple(entries) != tuple(f"snn.{key}" for key in keys):
        raise ModelError("bad_model", f"has other metadata than {', '.join(keys)}")
    return {key: entries[f"snn.{key}"] for key in keys}


def _odd(given: ModelProto, expected: ModelProto) -> str:
    """Name the first thing in `given` that the graph read from it does not explain."""
    for one, other in ((given.graph, expected.graph), (given, expected)):
        for field in one.DESCRIPTOR.fields:
            a, b = getattr(one, field.name), getattr(other, field.name)
            if field.name == "graph" or a == b:
                continue
            if field.name in ("node", "initializer"):
                pairs = zip(a, b, strict=False)
                name = next((x.name for x, y in pairs if x != y), "the last")
                return f"unexpected {field.name} {name!r:.80}"
            return f"unexpected {field.name}"
    return "it holds unknown fields"
