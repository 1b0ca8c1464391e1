"""What `export-snn` does: read, fold, quantise, prove, measure, write."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from snn_runtime.backends.ort import OrtBackend
from snn_runtime.command import say
from snn_runtime.errors import InputError, UsageError
from snn_runtime.files import check_target
from snn_runtime.onnx_file import write
from snn_train import data as data_sets
from snn_train.choices import takes_size
from snn_train.threads import compute_with


def run(args: argparse.Namespace) -> int:
    """Export, prove, measure, write; nothing is written unless everything holds."""
    check_target(args.model)
    compute_with(args.threads)
    origin = load_origin(args)
    folded = _as_asked(origin, args)
    graph = to_int8(folded) if args.weights == "int8" else to_float32(folded)
    data = _data(args.data, origin) if args.data else None
    engine = OrtBackend(graph, threads=args.threads)
    proof = prove(graph, engine, data)
    imported: dict[str, Any] = {}
    if isinstance(origin, Foreign):
        parity = compare(origin, graph, engine, evidence(graph.image, data))
        imported = report.imported(origin, parity)
    accuracy = measure(origin, graph, engine, data) if data else None
    graph = replace(graph, provenance=json.dumps(report.provenance(origin, graph, accuracy)))
    write(graph, args.model)
    facts = report.summary(origin, graph, args.model.stat().st_size, proof, accuracy) | imported
    if args.format == "json":
        print(json.dumps(facts))
    else:
        print(report.text(facts, str(args.model), graph))
    return 0


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
