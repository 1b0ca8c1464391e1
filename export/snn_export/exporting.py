"""A network to a proven file: fold, quantise, prove, measure, write."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from snn_export import report, trained
from snn_export.calibration import calibrate
from snn_export.importers import Foreign
from snn_export.labels import names_of, shown
from snn_export.layerwise import Original
from snn_export.origin import Origin
from snn_export.parity import compare
from snn_export.provenance import trained_labels
from snn_export.quantise import narrowed, to_int8
from snn_export.recorded import Recorded
from snn_export.report import Exported
from snn_export.target import check_model_target
from snn_export.unrounded import to_float32
from snn_export.verify import evidence, measure, prove
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import InputError, UsageError
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.graph import PACKED_BITS
from snn_runtime.model_file import golden_of, write
from snn_train import data as data_sets
from snn_train.choices import BITS, takes_size
from snn_train.data.folders import FileProgress

Weights: TypeAlias = Literal["int8", "int4", "float32"]


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
        weights: `int8` computes the same bits on every machine. So does `int4`, for integers of 4
            bits, which makes half the file.
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
    _check_values(network, path, weights, bits, data)
    path, given = Path(path), None if labels is None else names_of(labels)
    check_model_target(path, *_files(network))
    origin = trained.load(Path(network)) if isinstance(network, str | Path) else network
    check_bits(origin, bits)
    check_packing(origin, weights, bits)
    folded = origin.fold()
    names = given or folded.labels
    if len(names) != len(folded.labels):
        count = f"{len(names):,} classes, the network has {len(folded.labels):,}"
        raise UsageError("bad_value", f"labels names {count}")
    folded = replace(folded, bits=bits or folded.bits, labels=names)
    if isinstance(data, str):
        data = read_data(data, origin)
    elif data is not None:
        check_data(data, origin)
    if weights == "float32":
        return _proven(origin, to_float32(folded), path, data, threads, {})
    graph = replace(to_int8(folded), packed=weights == "int4")
    return _proven(origin, graph, path, data, threads, narrowed(folded, graph))


def _check_values(
    network: object, path: object, weights: str, bits: int | None, data: object
) -> None:
    """Refuse arguments of a kind that would fail somewhere inside. Raises: UsageError."""
    if not isinstance(network, str | Path | Foreign | trained.Trained):
        raise UsageError(
            "bad_value",
            f"network is a {type(network).__name__}, expected the path of a checkpoint or what "
            "import_network returned",
        )
    if not isinstance(path, str | Path):
        raise UsageError("bad_value", f"path is {shown(path)}, expected that of the file to write")
    if weights not in get_args(Weights):
        raise UsageError("bad_value", f"weights is {weights!r}, expected int8, int4 or float32")
    if bits is not None and weights == "float32":
        raise UsageError("bad_value", f"bits is {bits}, but float32 weights are no integers")
    if data is not None and not isinstance(data, str | data_sets.DataSet):
        raise UsageError(
            "bad_value",
            f"data is a {type(data).__name__}, expected text such as 'imagefolder:photos', or a "
            "DataSet",
        )


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
    if bits not in BITS or isinstance(bits, float):
        raise UsageError("bad_value", f"bits is {bits!r}, expected 8, 6 or 4")
    if origin.bits not in (0, bits):
        raise UsageError("bad_value", f"{what} was trained in {origin.bits} bits")


def check_packing(
    origin: Origin,
    weights: str,
    bits: int | None,
    what: str = "weights is 'int4'",
    how: str = "bits=4",
) -> None:
    """Refuse int4 weights of other integers. Raises: UsageError: `bad_value`."""
    bits = bits or origin.bits or 8
    if weights == "int4" and bits != PACKED_BITS:
        problem = f"{what}, but the integers have {bits} bits; expected {how}, or training in 4"
        raise UsageError("bad_value", problem)


def read_data(
    spec: str, origin: Origin | SpikingGraph, progress: FileProgress = lambda items, *_: items
) -> data_sets.DataSet:
    """Return the data set that `spec` names, its images of `origin`'s size.

    Raises:
        InputError: `bad_data`: other classes or sizes than `origin`'s.
    """
    image = origin.image
    size = (image.height, image.width) if takes_size(spec) else None
    data = data_sets.load(spec, progress, size, image.fit)
    check_data(data, origin)
    return data


def check_data(data: data_sets.DataSet, origin: Origin | SpikingGraph) -> None:
    """Refuse pictures that say nothing of `origin`.

    Raises:
        InputError: `bad_data`: other classes or sizes than `origin`'s, or no pictures.
    """
    size = (origin.image.height, origin.image.width)
    if tuple(data.labels) not in _names(origin):
        raise InputError("bad_data", f"{data.name}: {_other_classes(data.labels, origin.labels)}")
    for part, images, answers in (
        ("training", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        if len(images) != len(answers):
            count = f"{len(images):,} {part} pictures for {len(answers):,} labels"
            raise InputError("bad_data", f"{data.name}: has {count}, expected one each")
        if len(images) == 0:
            raise InputError("bad_data", f"{data.name}: has no {part} pictures, expected some")
        if tuple(images.shape[1:3]) != size:
            raise InputError(
                "bad_data", f"{data.name}: {part} pictures are not {size[0]}x{size[1]}"
            )


def _files(network: Origin | str | Path) -> tuple[Path, ...]:
    """What it is read from."""
    if isinstance(network, str | Path):
        return (Path(network),)
    return network.files if isinstance(network, Foreign) else ()


def _names(origin: Origin | SpikingGraph) -> list[tuple[str, ...]]:
    """The names of the classes, and those they had before `labels` renamed them."""
    found = [tuple(origin.labels)]
    if isinstance(origin, SpikingGraph):
        found.append(trained_labels(origin.provenance))
    return found


def _other_classes(given: Sequence[str], wanted: Sequence[str]) -> str:
    """Where the classes of pictures and of a network begin to differ."""
    if len(given) != len(wanted):
        return f"has {len(given):,} classes, the network {len(wanted):,}"
    pairs = enumerate(zip(given, wanted, strict=True))
    place, (one, other) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
    return f"its class {place} is {one!r}, the network's is {other!r}"


def _seen(origin: Origin) -> Original:
    """The network with its spikes."""
    if isinstance(origin, Foreign):
        return origin
    assert isinstance(origin, trained.Trained), "there are two kinds of origin"
    return Recorded(origin)


def _proven(
    origin: Origin,
    graph: SpikingGraph,
    path: Path,
    data: data_sets.DataSet | None,
    threads: int | None,
    narrow: Mapping[str, int],
) -> Exported:
    """Write the file, or nothing."""
    engine = OrtBackend(graph, threads=threads)
    golden = golden_of(graph)  # once: of a large network it takes minutes
    proof = prove(graph, engine, data, golden=golden)
    integers = origin.bits > 0 and graph.exact and not narrow
    parity = compare(_seen(origin), graph, engine, evidence(graph.image, data), same=integers)
    accuracy = confidence = None
    if data:
        accuracy, logits = measure(origin, graph, engine, data)
        confidence = calibrate(engine, graph.channels, origin.provenance(), data, logits)
        graph = replace(graph, calibration=confidence.calibration)
    provenance = report.provenance(origin, graph, accuracy, confidence)
    graph = replace(graph, provenance=json.dumps(provenance))
    write(graph, path, golden=golden)
    size = path.stat().st_size
    facts = report.summary(graph, size, proof, accuracy, confidence, narrowed=narrow)
    facts["parity"] = vars(parity)
    if isinstance(origin, Foreign):
        facts |= report.imported(origin)
    return Exported(path, graph, proof, parity, accuracy, confidence, facts)
