"""`export-snn`: from a T = 1 checkpoint to one portable, proven ONNX file."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_export.flags import (
    BY_FORMAT,
    DEVICES,
    HELP,
    LARGEST_BATCH,
    NEEDED,
    RULES,
    add_flags,
    add_triton,
)
from snn_export.target import check_model_target
from snn_runtime.command import run_command, say
from snn_runtime.errors import UsageError
from snn_runtime.flags import Parser, check, whole_number
from snn_runtime.machine.cores import MOST
from snn_train.choices import BITS

if TYPE_CHECKING:
    from snn_export.origin import Origin
    from snn_export.report import Written
    from snn_runtime.image import Fit

PROGRAM = "export-snn"
EXAMPLES = """examples:
  export-snn runs/digits/t1.pt model.onnx
  export-snn runs/imagefolder/t1.pt model.onnx --data imagefolder:photos
      measure the accuracy before and after quantisation too
  export-snn t1.pt model.onnx --int-bits 4
      in integers of 4 bits, without training for it; train-snn --int-bits 4 trains for it
  export-snn t1.pt model.onnx --weights float32 --format json
  export-snn --dense runs/imagefolder/ann.pt dnn.onnx
      the run's ANN as an ordinary INT8 file, for snn-bench --against
  export-snn model.onnx --triton repository --triton-device cuda
      a file that was exported, as a model of NVIDIA's Triton Inference Server
  export-snn --calibrate model.onnx --data imagefolder:new-photos
      a file that exists: probabilities and doubts fitted on other pictures"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    description = "Fold thresholds and normalisation into a stateless ONNX graph, and prove it."
    parser = Parser(PROGRAM, description, f"{EXAMPLES}\n\n{HELP}", RULES)
    parser.add_argument(
        "checkpoint", type=Path, help="of train-snn at T=1, or another's, see below"
    )
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        help="the file to write; not needed with a model.onnx and --triton or --calibrate",
    )
    weights = "default int8: exact; int4: as exact, of 4 bits, half the file (ONNX opset 21)"
    choices = ("int8", "int4", "float32")
    parser.add_argument("--weights", choices=choices, default="int8", help=weights)
    bits = "of the integers: 8 unless they were trained, see train-snn --int-bits"
    parser.add_argument("--int-bits", type=int, choices=BITS, help=bits)
    dense = "the ANN of stage 0 (ann.pt), in INT8 calibrated on --data (default: the run's own)"
    parser.add_argument("--dense", action="store_true", help=dense)
    calibrate = "the first file is a model.onnx: fit its probabilities on --data"
    parser.add_argument("--calibrate", action="store_true", help=calibrate)
    parser.add_argument("--data", help="as for train-snn: measure accuracy and spike rates on it")
    threads = whole_number(1, MOST)
    parser.add_argument("--threads", type=threads, help="(default: all cores it may use)")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    add_triton(parser)
    add_flags(parser)
    args = parser.read(argv)
    given = args.calibrate or (args.triton and args.checkpoint.suffix == ".onnx")
    if args.model is None and not given:
        raise UsageError("usage", "MODEL is missing: the file to write, such as model.onnx")
    return args


def run(args: argparse.Namespace) -> int:
    """Export as asked; returns an exit code."""
    if args.calibrate:
        return _run_calibrate(args)
    if args.model is None:
        return _say(args, {}, _placed(args, args.checkpoint))
    check_model_target(args.model, args.checkpoint, *_named_files(args))
    with _reserved(args):
        return _run_export(args)


def _run_export(args: argparse.Namespace) -> int:
    # Here, so that --help and a mistyped flag neither wait for torch nor need it.
    from snn_export.exporting import check_bits, check_packing, export, read_data
    from snn_export.importers import Foreign
    from snn_export.labels import labels_of, renamed, repeated
    from snn_train.threads import compute_with

    compute_with(args.threads)
    if args.dense:
        return _run_dense(args)
    network = read_network(args)
    for name, places in repeated(labels_of(args.labels) if args.labels else ()).items():
        say(
            f"{PROGRAM}: warning: --labels: {name!r} is the name of {len(places)} classes: "
            f"{', '.join(map(str, places))}"
        )
    check_bits(network, args.int_bits, f"--int-bits {args.int_bits}: {args.checkpoint}")
    check_packing(network, args.weights, args.int_bits, "--weights int4", "--int-bits 4")
    own_names = args.labels and not isinstance(network, Foreign)
    data = read_data(args.data, network, _shown) if args.data else None
    for note in data.notes if data else ():
        say(f"{PROGRAM}: {note}")
    exported = export(
        network,
        args.model,
        weights=args.weights,
        bits=args.int_bits,
        labels=renamed(args.labels, network.labels) if own_names else None,
        data=data,
        threads=args.threads,
    )
    if args.format == "text":
        print(exported.text())
    return _say(args, exported.facts, _placed(args, args.model) if args.triton else None)


def _named_files(args: argparse.Namespace) -> list[Path]:
    """What is read besides the checkpoint: names of classes, a program."""
    program = (args.module or "").rpartition(":")[0]
    return [Path(name) for name in (args.labels, program) if name and os.path.isfile(name)]


def _say(args: argparse.Namespace, facts: dict[str, Any], placed: Path | None) -> int:
    """Print facts as JSON, or where a model was put in a repository; returns an exit code."""
    if args.format == "json":
        print(json.dumps(facts | ({"triton": str(placed)} if placed else {})))
    elif placed:
        then = "build-plan.sh on its GPU, then " if args.triton_device == "tensorrt" else ""
        print(f"{placed}  next: {then}tritonserver --model-repository {args.triton.resolve()}")
    return 0


def _say_written(args: argparse.Namespace, written: "Written") -> int:
    print(json.dumps(written.facts) if args.format == "json" else written.text)
    return 0


def _reserved(args: argparse.Namespace) -> AbstractContextManager[None]:
    """A place in the repository, if one is asked for."""
    if not args.triton:
        return nullcontext()
    from snn_export.triton import reserved

    return reserved(args.model, args.triton, args.triton_name)


def _placed(args: argparse.Namespace, model: Path) -> Path:
    """Put `model` into the repository that is asked for; returns its folder there."""
    from snn_export.triton import write_repository

    return write_repository(
        model,
        args.triton,
        name=args.triton_name,
        device=args.triton_device or DEVICES[0],
        batch=args.triton_batch or LARGEST_BATCH,
    )


def _run_calibrate(args: argparse.Namespace) -> int:
    from snn_export.exporting import read_data
    from snn_export.recalibrate import recalibrate
    from snn_runtime.model import read_model_file

    data = read_data(args.data, read_model_file(args.checkpoint).graph, _shown)
    target = args.model or args.checkpoint
    done = recalibrate(args.checkpoint, target, data, threads=args.threads)
    return _say_written(args, done)


def _run_dense(args: argparse.Namespace) -> int:
    from snn_export import trained
    from snn_export.dense import export_dense
    from snn_export.exporting import read_data
    from snn_export.labels import renamed

    network = trained.load(args.checkpoint, dense=True)
    labels = renamed(args.labels, network.labels) if args.labels else None
    data = read_data(args.data or network.experiment.data, network, _shown)
    exported = export_dense(network, args.model, data, labels=labels, threads=args.threads)
    return _say_written(args, exported)


def read_network(args: argparse.Namespace) -> "Origin":
    """Return the network in `args.checkpoint`, ours or another's.

    Raises:
        UsageError: flags that are missing or out of place.
        ModelError: the file is refused.
    """
    from snn_export import trained
    from snn_export.importers import Picture
    from snn_export.importing import open_file
    from snn_export.labels import labels_of

    # What is wrong with the file is said before what is wrong with the flags.
    file = open_file(args.checkpoint, args.framework, args.module)
    own = None if file.format else trained.load(args.checkpoint)
    args.framework = file.format
    check(args, BY_FORMAT)
    if own is not None:
        return own
    args.image_size = file.image_size(args.image_size, "--image-size")
    for name, missing in NEEDED.items():
        if getattr(args, name) is None:
            raise UsageError("bad_flag", f"{args.checkpoint}: {file.format} has no {missing}")
    fit: Fit = args.fit or "crop"
    picture = Picture.of(labels_of(args.labels), args.image_size, args.mean, args.std, fit)
    return file.network(picture, args.dt)


def main() -> int:
    """Run `export-snn`."""
    return run_command(PROGRAM, lambda: run(parse_args(None)))


def _shown(items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
    from tqdm import tqdm

    bar: Iterable[Path] = tqdm(items, title, total, leave=False, disable=not sys.stderr.isatty())
    return bar


if __name__ == "__main__":
    sys.exit(main())
