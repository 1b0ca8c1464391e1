"""The flags that say what another framework's file leaves out, and those of a repository."""

import argparse
import math
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from snn_export.formats import FORMATS, WITHOUT_PROGRAM
from snn_runtime.flags import Rule, number, whole_number

Device: TypeAlias = Literal["cpu", "cuda", "tensorrt"]
DEVICES: tuple[Device, ...] = get_args(Device)
"""Of Triton's: see `triton`."""
LARGEST_BATCH = 64
"""Pictures in a batch of Triton's, unless asked otherwise."""

HELP = """other people's files:
  export-snn vgg16.pth model.onnx --from iir-official --image-size 32x32 --labels cifar10.txt \\
      --mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.2010
  export-snn weights.pt model.onnx --module net.py:build --image-size 28x28 \\
      --labels 0,1,2,3,4,5,6,7,8,9 --mean 0.1307 --std 0.3081
      snnTorch or SpikingJelly: build() in net.py returns the network that weights.pt fits
  export-snn net.nir model.onnx --image-size 32x32 --labels names.txt --mean 0 --std 1"""
NEEDED = {
    "labels": "labels; name them with --labels",
    "mean": "pixel mean; give it with --mean (0 if it was trained on pixels from 0 to 1)",
    "std": "pixel deviation; give it with --std (1 if it was trained on pixels from 0 to 1)",
    "image_size": "image size; give it with --image-size HxW",
}
"""What every network needs, and what to say where neither the file nor a flag has it."""
FOREIGN = ("framework", "mean", "std", "image_size", "fit", "module", "dt")
"""What is only of use for other people's files."""
BY_FORMAT = (
    Rule(
        FOREIGN[1:],
        lambda args: args.framework is not None,
        "is for other people's files, and this one is train-snn's, which says it itself",
    ),
    Rule(
        ("dt",),
        lambda args: args.framework == "nir",
        "is for NIR graphs, which leave their timestep open",
    ),
    Rule(
        ("module",),
        lambda args: args.framework not in WITHOUT_PROGRAM,
        "goes with snntorch and spikingjelly, whose files are weights of a program",
    ),
)
"""Known once the file has been looked at, its format in `framework`."""

RULES = (
    Rule(
        ("weights", "int_bits", "dense", "triton", *FOREIGN, "labels"),
        lambda args: not args.calibrate,
        "is for checkpoints, and --calibrate takes a model file",
    ),
    Rule(("calibrate",), lambda args: args.data, "needs pictures: name them with --data"),
    Rule(
        ("weights", "int_bits", *FOREIGN),
        lambda args: not args.dense,
        "is for spiking networks, and --dense writes a run's ANN",
    ),
    Rule(
        ("triton_name", "triton_device", "triton_batch"),
        lambda args: args.triton is not None,
        "goes with --triton",
    ),
    Rule(("triton",), lambda args: not args.dense, "is for spiking networks"),
    Rule(
        ("weights", "int_bits", "data", "threads", *FOREIGN, "labels"),
        lambda args: args.model or args.calibrate or args.checkpoint.suffix != ".onnx",
        "changes nothing of a file that was exported before",
    ),
    Rule(
        ("int_bits",),
        lambda args: args.weights != "float32",
        "is for integers, and --weights float32 are none",
    ),
    Rule(
        ("weights",),
        lambda args: (args.weights, args.triton_device) != ("int4", "tensorrt"),
        "int4 is not for --triton-device tensorrt: trtexec is not known to take it",
    ),
)


def add_triton(parser: argparse.ArgumentParser) -> None:
    """Add what a model repository needs."""
    group = parser.add_argument_group("for NVIDIA's Triton Inference Server")
    repository = "write the file into this model repository, with its configuration"
    group.add_argument("--triton", type=Path, metavar="DIR", help=repository)
    group.add_argument("--triton-name", metavar="NAME", help="of the model (default: the file's)")
    group.add_argument("--triton-device", choices=DEVICES, help="default cpu")
    most = f"most pictures of a batch (default {LARGEST_BATCH})"
    group.add_argument("--triton-batch", type=whole_number(1, 4096), metavar="N", help=most)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what only other people's files need."""
    group = parser.add_argument_group(
        "other people's files", "what a file of another framework does not hold"
    )
    group.add_argument("--from", dest="framework", choices=FORMATS, help="default: by its content")
    names = "cat,dog,… or a file, one a line, in the classes' order; renames train-snn's classes"
    group.add_argument("--labels", help=names)
    group.add_argument("--image-size", type=_size, help="HxW in pixels (NIR may hold it itself)")
    group.add_argument(
        "--mean",
        type=_numbers,
        help="R,G,B or one: of pixels 0 to 1, or 0 to 255 if one is above 1",
    )
    group.add_argument("--std", type=_numbers, help="R,G,B or one, in the units of --mean")
    group.add_argument("--fit", choices=("crop", "stretch"), help="default crop")
    group.add_argument(
        "--module", help="FILE.py:FUNCTION, your code, which is run: returns the torch module"
    )
    seconds = number("of seconds above 0", lambda value: 0 < value < math.inf)
    group.add_argument("--dt", type=seconds, help="seconds of NIR's one step (default 1e-4)")


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.lower().partition("x")
    if not cross or not height.isdecimal() or not width.isdecimal() or not int(height) * int(width):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH in pixels")
    return int(height), int(width)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas between") from error
