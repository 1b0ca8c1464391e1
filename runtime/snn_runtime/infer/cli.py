"""The command `snn-infer`: pictures in, labels out."""

import argparse
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from snn_runtime.command import run_command, say
from snn_runtime.condition import address, condition, probability
from snn_runtime.errors import UsageError
from snn_runtime.flags import Parser, add_engine, whole_number
from snn_runtime.infer import PROGRAM, TOP_K, values
from snn_runtime.infer.rules import RULES
from snn_runtime.video.names import CAMERA_RETRIES, CAMERA_TIMEOUT, check_opencv, needs_opencv

ENDED = [128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
"""Exit codes of a command that was told to end."""
PILLOW_MAX_PIXELS = 178_956_970
"""More than this Pillow itself refuses in some formats."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    from snn_runtime.image import Limits

    parser = Parser(PROGRAM, "Label pictures with a spiking network.", values.EXAMPLES, RULES)
    limits = Limits()
    add = parser.add_argument
    add(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="a picture, a folder, a film, - for standard input, http://…, rtsp://…, camera:0, or "
        "csi:0 on a Jetson",
    )
    _add_sources(parser)
    add("--model", type=Path, metavar="PATH", help="model.onnx (default: the bundled one)")
    add_engine(parser)
    _add_outputs(parser)
    add("--strict", action="store_true", help="refuse pictures that would get a warning")
    add(
        "--max-pixels",
        type=whole_number(64, PILLOW_MAX_PIXELS),
        default=limits.max_pixels,
        metavar="N",
        help="refuse larger pictures (default: %(default)s)",
    )
    add(
        "--max-bytes",
        type=whole_number(1),
        default=limits.max_bytes,
        metavar="N",
        help="refuse larger files (default: %(default)s)",
    )
    add(
        "--self-test",
        action="store_true",
        help="check the model on this machine first, large ones too",
    )
    add("--clear-cache", action="store_true", help="first remove the engines that tensorrt keeps")
    own, command = _apart(list(sys.argv[1:] if argv is None else argv))
    args = parser.read(own)
    args.command = command
    args.pictures = bool(args.inputs or args.files_from is not None or args.watch is not None)
    if command and not command[0]:
        raise UsageError("usage", "'' behind --: expected a command; is a variable not set?")
    if args.on_label is not None and bool(command) == (args.post is not None):
        raise UsageError(
            "usage",
            "--on-label needs a command, or --post and an address: "
            "--on-label 'cat>0.8' -- notify {path}",
        )
    args.format = "json" if args.resume is not None else args.format
    if not (args.pictures or args.self_test or args.clear_cache):
        raise UsageError("usage", f"no input given (see {PROGRAM} --help)")
    return args


def run(args: argparse.Namespace) -> int:
    """Do what the command line says and return the exit code."""
    networks = [each for each in args.inputs if each.endswith(".onnx") and os.path.isfile(each)]
    if networks and args.model is None:  # else the bundled network would label what is beside it
        raise UsageError("usage", f"{networks[0]} is a network: --model {networks[0]}")
    # Imports are here, so that --help and a mistyped flag do not wait for an inference engine.
    if args.clear_cache:
        from snn_runtime.engines.cache import clear

        say(f"{PROGRAM}: {clear()}")
        if not (args.pictures or args.self_test):
            return 0
    if any(map(needs_opencv, args.inputs)):
        check_opencv()
    from snn_runtime.infer import labelling

    return labelling.run(args)


def main() -> int:
    """Run `snn-infer`."""
    # Pillow warns and logs about odd tags in TIFF files; what matters of it we say ourselves.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    code = run_command(PROGRAM, lambda: run(parse_args(None)))
    if code in ENDED:
        os._exit(code)  # Python would first wait for threads that decode and compute
    return code


def _apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words of the command line, and the command that --on-label runs."""
    end = words.index("--") if "--" in words else len(words)
    if any(word.split("=")[0] == "--on-label" for word in words[:end]):
        return words[:end], words[end + 1 :]
    return words, []


def _add_sources(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "--files-from",
        metavar="LIST",
        help="a file with names of pictures and folders, one a line or with zero bytes between "
        "them; - reads it from standard input",
    )
    add(
        "--watch",
        metavar="DIR",
        help="label what is in this folder and whatever arrives, once it is whole; no end",
    )
    add(
        "--every",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="of a film, label only every N-th frame, from the first on",
    )
    add(
        "--fps",
        type=values.rate,
        metavar="F",
        help="label so many pictures a second of a camera or a film at most; an http address of a "
        "picture is read anew",
    )
    add(
        "--camera-timeout",
        type=values.positive,
        default=CAMERA_TIMEOUT,
        metavar="S",
        help="seconds without another picture until a camera counts as lost (default: %(default)g)",
    )
    add(
        "--camera-retries",
        type=whole_number(0),
        default=CAMERA_RETRIES,
        metavar="N",
        help="attempts in a row to reach it again (default: %(default)s)",
    )
    add("--follow", action="store_true", help="in folders, follow links wherever they lead")
    add(
        "--shard",
        type=values.part,
        default=(1, 1),
        metavar="I/N",
        help="label only every N-th picture, from the I-th on, so that N machines share the work",
    )
    add(
        "--resume",
        type=Path,
        metavar="FILE",
        help="add answers to this file of JSON lines, and leave out the pictures that have one",
    )


def _add_outputs(parser: Parser) -> None:
    from snn_runtime.answer import UNSURE_BELOW

    add = parser.add_argument
    add(
        "--top-k",
        type=whole_number(1),
        metavar="N",
        help=f"labels for each picture (default: {TOP_K}; in text 1 where the network is sure)",
    )
    add("--format", choices=["text", "json", "csv"], default="text", help="default: %(default)s")
    add(
        "--only-label",
        action="store_true",
        help="print labels only; an empty line for what failed, was skipped or is unsure",
    )
    add(
        "--threshold",
        type=probability,
        default=UNSURE_BELOW,
        metavar="P",
        help="probability below which an answer is unsure (default: %(default)s)",
    )
    add(
        "--crop",
        type=values.region,
        metavar="X,Y,W,H",
        help="look only at this part of each picture: left, top, width and height in pixels",
    )
    explain = "write a PNG for each picture: spikes, firing rates, and what the label leaned on"
    add("--explain", type=values.explained, metavar="DIR|FILE.png", help=explain)
    add(
        "--annotate",
        type=values.annotated,
        metavar="DIR|FILE",
        help="write each picture with its label drawn on into this folder, the only one into a "
        "file (.jpg, .png), those of one film or camera into a film: .mp4 for players, .webm for "
        "browsers",
    )
    add(
        "--move-to",
        type=values.folder,
        metavar="DIR/{label}",
        help="say into which folder each picture would go; unsure ones stay",
    )
    add("--yes", action="store_true", help="do what --move-to says; nothing is overwritten")
    add(
        "--on-label",
        type=condition,
        metavar="LABEL>P",
        help="run the command after -- for such pictures, without a shell; {path}, {label} and "
        "{probability} in its words are replaced",
    )
    add(
        "--post",
        type=address,
        metavar="URL",
        help="post such answers there as JSON; no picture of a camera waits for it",
    )


if __name__ == "__main__":
    sys.exit(main())
