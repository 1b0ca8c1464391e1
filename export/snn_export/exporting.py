"""A network to a proven file: fold, quantise, prove, measure, write."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from snn_export import report, trained
from snn_export.calibration import calibrate
from snn_export.fold import FoldedNetwork
from snn_export.importers import Foreign
from snn_export.origin import Origin
from snn_export.parity import compare
from snn_export.quantise import to_float32, to_int8
from snn_export.report import Exported
from snn_export.verify import evidence, measure, prove
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import InputError, ModelError, UsageError
from snn_runtime.files import check_target
from snn_runtime.graph import SpikingGraph
from snn_runtime.model_file import write
from snn_train import data as data_sets
from snn_train.choices import BITS, takes_size
from snn_train.data.folders import FileProgress

Weights: TypeAlias = Literal["int8", "float32"]


def export(
    network: Origin | str | Path,
    path: str | Path,
    *,
    weights: Weights = "int8",
    bits: int | None = None,
    labels: Sequence[str] | None = None,
    data: data_sets.DataSet | str | None = None,
    threads: int | None = None,
) -> Exported:
    """Write a network to an ONNX file, once all is proven that the command proves.

    Args:
        network: A checkpoint of train-snn at T = 1, or what `import_network` returned.
        path: The file to write.
        weights: `int8` computes the same bits on every machine.
        bits: Of the integers, 8, 6 or 4; None for those it was trained in, else 8.
        labels: Names of the classes, instead of those it was trained with.
        data: Pictures to measure accuracy and spike rates on, as `train-snn --data` names them;
            some of them are proven, too.
        threads: Of the engine that is compared with the reference; None is all it may use.

    Returns:
        The graph that was written, and the proof.

    Raises:
        VerifyError: `parity`: the file would not compute what the network does.
        ModelError: It cannot be folded, or a current leaves what exact engines can hold.
        InputError: `bad_data`: other classes or sizes than the network's.
        ResourceError: The file cannot be written.
    """
    path = Path(path)
    check_target(path, Path(network) if isinstance(network, str | Path) else None)
    origin = trained.load(Path(network)) if isinstance(network, str | Path) else network
    if weights not in get_args(Weights):
        raise UsageError("bad_value", f"weights is {weights!r}, expected int8 or float32")
    check_bits(origin, bits)
    if bits is not None and weights == "float32":
        raise UsageError("bad_value", f"bits is {bits}, but float32 weights are no integers")
    folded = origin.fold()
    folded = replace(folded, bits=bits or folded.bits, labels=tuple(labels or folded.labels))
    data = read_data(data, origin) if isinstance(data, str) else data
    graph = _in_integers(folded) if weights == "int8" else to_float32(folded)
    return _proven(origin, graph, path, data, threads)


def check_bits(origin: Origin, bits: int | None, what: str = "") -> None:
    """Refuse bits that no integers have, or others than `origin` was trained in.

    Args:
        what: how a message calls them.

    Raises:
        UsageError: `bad_value`.
    """
    if bits is None:
        return
    what = what or f"bits is {bits}, but it"
    if bits not in BITS:
        raise UsageError("bad_value", f"bits is {bits!r}, expected 8, 6 or 4")
    if origin.bits not in (0, bits):
        raise UsageError("bad_value", f"{what} was trained in {origin.bits} bits")


def read_data(
    spec: str, origin: Origin | SpikingGraph, progress: FileProgress = lambda items, *_: items
) -> data_sets.DataSet:
    """Return the data set that `spec` names, its images of `origin`'s size.

    Raises:
        InputError: `bad_data`: other classes or sizes than `origin`'s.
    """
    image = origin.image
    size = (image.height, image.width)
    data = data_sets.load(spec, progress, size if takes_size(spec) else None, image.fit)
    if data.labels != origin.labels:
        raise InputError(
            "bad_data",
            f"{spec}: its classes {', '.join(data.labels[:5])} … are not those of the checkpoint, "
            f"{', '.join(origin.labels[:5])} …",
        )
    if tuple(data.test_images.shape[1:3]) != size:
        raise InputError("bad_data", f"{spec}: pictures are not {size[0]}x{size[1]}")
    return data


def _proven(
    origin: Origin,
    graph: SpikingGraph,
    path: Path,
    data: data_sets.DataSet | None,
    threads: int | None,
) -> Exported:
    """Write the file, or nothing."""
    engine = OrtBackend(graph, threads=threads)
    proof = prove(graph, engine, data)
    imported: dict[str, Any] = {}
    parity = None
    if isinstance(origin, Foreign):
        parity = compare(origin, graph, engine, evidence(graph.image, data))
        imported = report.imported(origin, parity)
    accuracy = confidence = None
    if data:
        accuracy, logits = measure(origin, graph, engine, data)
        confidence = calibrate(engine, graph.channels, origin.provenance(), data, logits)
        graph = replace(graph, calibration=confidence.calibration)
    provenance = report.provenance(origin, graph, accuracy, confidence)
    graph = replace(graph, provenance=json.dumps(provenance))
    write(graph, path)
    facts = report.summary(origin, graph, path.stat().st_size, proof, accuracy, confidence)
    return Exported(path, graph, proof, parity, accuracy, confidence, facts | imported)


def _in_integers(folded: FoldedNetwork) -> SpikingGraph:
    """The integer graph; where its currents leave 24 bits, say which weights would not."""
    try:
        return to_int8(folded)
    except ModelError as error:
        narrower = next((bits for bits in (6, 4) if bits < folded.bits and _fits(folded, bits)), 0)
        if not narrower:
            raise
        raise ModelError(
            error.code, f"{error.message}; --int-bits {narrower} or --weights float32 has room"
        ) from error


def _fits(folded: FoldedNetwork, bits: int) -> bool:
    try:
        to_int8(replace(folded, bits=bits))
    except ModelError:
        return False
    return True
