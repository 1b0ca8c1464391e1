"""What `export-snn` does, and `export` from Python: fold, quantise, prove, measure, write."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from tqdm import tqdm

from snn_export import report
from snn_export.cli import PROGRAM
from snn_export.flags import load_origin
from snn_export.fold import FoldedNetwork
from snn_export.importers import Foreign
from snn_export.labels import renamed
from snn_export.origin import Origin
from snn_export.parity import compare
from snn_export.quantise import to_float32, to_int8
from snn_export.verify import evidence, measure, prove
from snn_runtime.command import say
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import InputError, ModelError, UsageError
from snn_runtime.files import check_target
from snn_runtime.graph import SpikingGraph
from snn_runtime.model_file import write
from snn_train import data as data_sets
from snn_train.choices import BITS, takes_size
from snn_train.threads import compute_with

Weights: TypeAlias = Literal["int8", "float32"]


def run(args: argparse.Namespace) -> int:
    """Export, prove, measure, write; nothing is written unless everything holds."""
    check_target(args.model)
    compute_with(args.threads)
    origin = load_origin(args)
    folded = _as_asked(origin, args)
    data = _data(args.data, origin) if args.data else None
    graph, facts = _proven(origin, folded, args.model, args.weights, data, args.threads)
    if args.format == "json":
        print(json.dumps(facts))
    else:
        print(report.text(facts, str(args.model), graph))
    return 0


def export(
    origin: Origin,
    path: str | Path,
    *,
    weights: Weights = "int8",
    bits: int | None = None,
    data: data_sets.DataSet | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Write a network to an ONNX file, once all is proven that the command proves.

    Args:
        origin: what `importers.from_module` or `trained.load` give.
        bits: of the integers, 8, 6 or 4; None for those it was trained in, else 8.
        data: pictures to prove and measure it on, too.

    Returns:
        What `export-snn --format json` prints.

    Raises:
        VerifyError: `parity`: the file would not compute what `origin` does; nothing is written.
        ModelError: `origin` cannot be folded, or a current leaves what exact engines can hold.
        ResourceError: the file cannot be written.
    """
    check_target(Path(path))
    _check_values(origin, weights, bits)
    folded = origin.fold()
    folded = replace(folded, bits=bits) if bits else folded
    return _proven(origin, folded, Path(path), weights, data, threads)[1]


def _check_values(origin: Origin, weights: str, bits: int | None) -> None:
    if weights not in get_args(Weights):
        raise UsageError("bad_value", f"weights is {weights!r}, expected int8 or float32")
    if bits is None:
        return
    if bits not in BITS:
        raise UsageError("bad_value", f"bits is {bits!r}, expected 8, 6 or 4")
    if weights == "float32":
        raise UsageError("bad_value", f"bits is {bits}, but float32 weights are no integers")
    if origin.bits not in (0, bits):
        raise UsageError("bad_value", f"bits is {bits}, but it was trained in {origin.bits}")


def _proven(
    origin: Origin,
    folded: FoldedNetwork,
    path: Path,
    weights: Weights,
    data: data_sets.DataSet | None,
    threads: int | None,
) -> tuple[SpikingGraph, dict[str, Any]]:
    """Write the file, or nothing; return its graph and what there is to say of it."""
    graph = _in_integers(folded) if weights == "int8" else to_float32(folded)
    engine = OrtBackend(graph, threads=threads)
    proof = prove(graph, engine, data)
    imported: dict[str, Any] = {}
    if isinstance(origin, Foreign):
        parity = compare(origin, graph, engine, evidence(graph.image, data))
        imported = report.imported(origin, parity)
    accuracy = measure(origin, graph, engine, data) if data else None
    graph = replace(graph, provenance=json.dumps(report.provenance(origin, graph, accuracy)))
    write(graph, path)
    facts = report.summary(origin, graph, path.stat().st_size, proof, accuracy)
    return graph, facts | imported


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


def _as_asked(origin: Origin, args: argparse.Namespace) -> FoldedNetwork:
    """The folded network, to be made of integers of the bits asked for, its classes renamed."""
    asked, trained = args.int_bits, origin.bits
    if asked and trained and asked != trained:
        raise UsageError(
            "bad_flag", f"--int-bits {asked}: {args.checkpoint} was trained in {trained} bits"
        )
    folded = origin.fold()
    if args.labels and not isinstance(origin, Foreign):
        folded = replace(folded, labels=renamed(args.labels, origin.labels))
    return replace(folded, bits=asked) if asked else folded


def _data(spec: str, origin: Origin) -> data_sets.DataSet:
    image = origin.image
    size = (image.height, image.width)
    asked = size if takes_size(spec) else None
    data = data_sets.load(spec, _shown, asked, image.fit)
    if data.labels != origin.labels:
        raise InputError(
            "bad_data",
            f"{spec}: its classes {', '.join(data.labels[:5])} … are not those of the checkpoint, "
            f"{', '.join(origin.labels[:5])} …",
        )
    if tuple(data.test_images.shape[1:3]) != size:
        raise InputError("bad_data", f"{spec}: pictures are not {size[0]}x{size[1]}")
    for note in data.notes:
        say(f"{PROGRAM}: {note}")
    return data


def _shown(items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
    bar: Iterable[Path] = tqdm(items, title, total, leave=False, disable=not sys.stderr.isatty())
    return bar
