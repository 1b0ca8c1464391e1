"""What the flags of `snn-infer` may say, and where each of them has an effect."""

import argparse
import os

from snn_runtime.flags import Rule

PLACE = "{label}"
"""What stands for the label in the name of a folder."""
SMALLEST = 8
"""Pixels of a side, as `image.picture` asks."""

OF_PICTURES = (
    *("follow", "shard", "resume", "top_k", "format", "strict", "only_label", "threshold"),
    *("crop", "move_to", "yes", "on_label"),
    *("max_pixels", "max_bytes"),
)
RULES = (
    Rule(
        ("resume",),
        lambda args: args.format == "json" or "format" not in args.given,
        "keeps JSON lines, and --format is another",
    ),
    Rule(
        ("only_label",),
        lambda args: not {"format", "top_k", "resume"} & args.given.keys(),
        "prints nothing but labels, and --format, --top-k or --resume asks for more",
    ),
    Rule(("yes",), lambda args: args.move_to is not None, "is for --move-to, which is not given"),
    Rule(
        ("move_to",),
        lambda args: "-" not in args.inputs,
        "is for files, and standard input is none",
    ),
    Rule(
        ("watch",),
        lambda args: not args.inputs and args.files_from is None,
        "has no end, so no INPUT and no --files-from goes with it; it takes what is there, too",
    ),
    Rule(("shard",), lambda args: args.watch is None, "is for what has an end; --watch has none"),
    Rule(
        ("move_to",),
        lambda args: not (args.watch and _leads_into(args.move_to, args.watch)),
        "leads into the folder of --watch, where each picture would arrive again",
    ),
    Rule(
        ("files_from",),
        lambda args: args.files_from != "-" or "-" not in args.inputs,
        "is -, and so is an INPUT: standard input is one or the other",
    ),
    Rule(
        ("follow",),
        lambda args: (
            not has_pictures(args)
            or args.files_from
            or args.watch
            or any(map(os.path.isdir, args.inputs))
        ),
        "is for links in folders, and no INPUT is a folder",
    ),
    Rule(
        OF_PICTURES,
        lambda args: has_pictures(args),
        "is for pictures, and no INPUT is given",
    ),
    Rule(
        ("model", "backend", "device", "precision", "threads"),
        lambda args: args.inputs or args.files_from or args.watch or args.self_test,
        "is for a model, and --clear-cache alone loads none",
    ),
)


def has_pictures(args: argparse.Namespace) -> bool:
    return bool(args.inputs or args.files_from is not None or args.watch is not None)


def _leads_into(template: str, folder: str) -> bool:
    """Whether pictures would be moved to somewhere in a folder."""
    target = os.path.realpath(os.path.dirname(template.split(PLACE)[0]) or ".")
    folder = os.path.realpath(folder)
    return os.path.commonpath([target, folder]) == folder


def condition(text: str) -> tuple[str, float | None]:
    """Read `LABEL` or `LABEL>P`: a label, and the probability that must be exceeded."""
    label, more, least = text.rpartition(">")
    return (label, probability(least)) if more else (text, None)


def region(text: str) -> tuple[int, int, int, int]:
    """Read `x,y,w,h`."""
    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        left = -1
    if left < 0 or top < 0 or min(width, height) < SMALLEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not x,y,w,h in pixels, each side {SMALLEST} or more: 0,120,640,480"
        )
    return left, top, width, height


def folder(text: str) -> str:
    """Read a folder that has the label in its name."""
    if PLACE not in text:
        raise argparse.ArgumentTypeError(f"{text!r} lacks {PLACE}, as in sorted/{PLACE}")
    return text


def part(text: str) -> tuple[int, int]:
    """Read `i/n`, the i-th of n parts."""
    part, _, parts = text.partition("/")
    try:
        value = int(part), int(parts)
    except ValueError:
        value = 0, 0
    if not 1 <= value[0] <= value[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n, such as 1/3, 2/3 or 3/3")
    return value


def probability(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability from 0 to 1")
    return value
