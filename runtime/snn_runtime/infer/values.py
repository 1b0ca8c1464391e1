"""What the flags of `snn-infer` may say, and where each of them has an effect."""

import argparse
import os

from snn_runtime.flags import Rule, number
from snn_runtime.video.names import WRITTEN, is_film, is_live

PLACE = "{label}"
"""What stands for the label in the name of a folder."""

EXAMPLES = """examples:
  snn-infer cat.jpg                       one picture with the bundled model
  snn-infer --model model.onnx photos/    a folder and all folders in it
  snn-infer --format json photos/ > answers.jsonl
  snn-infer --every 25 film.mp4           frames of a film, named by number and time
  snn-infer camera:0                      the newest picture of a camera, again and again, also
  snn-infer rtsp://camera.local/main      of one on the network; http://… may be one picture
  ffmpeg -i film.mp4 -f image2pipe -c:v mjpeg - | snn-infer -      all JPEGs in a pipe
  find photos -newer stamp -print0 | snn-infer --files-from -
  snn-infer --resume answers.jsonl photos/                         goes on where it stopped
  snn-infer --watch inbox --resume answers.jsonl                   what arrives, until Ctrl-C
  snn-infer --explain why photos/         a PNG each: spikes, firing rates, what the label leaned on
  snn-infer --annotate shown photos/      pictures with their labels drawn on; shown.mp4 of a film
  snn-infer --move-to 'sorted/{label}' photos/            where each would go; --yes moves it
  snn-infer --on-label 'cat>0.8' photos/ -- notify-send 'a cat' {path}
  snn-infer --on-label 'cat>0.8' --post https://example.org/cats photos/
  snn-infer --shard 2/3 photos/           the second third, for one of three machines
  snn-infer --self-test                   does this machine compute what the model's maker did?

An answer is called unsure where its probability is below --threshold. In folders, hidden files,
files with another suffix than a picture's, what systems leave behind, and links that lead outside
(see --follow) are passed over and counted."""

OF_PICTURES = (
    *("follow", "shard", "resume", "top_k", "format", "strict", "only_label", "threshold"),
    *("every", "fps", "camera_timeout", "camera_retries", "crop", "annotate", "move_to", "yes"),
    *("explain", "on_label", "post"),
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
    Rule(
        ("post",), lambda args: args.on_label is not None, "is for --on-label, which is not given"
    ),
    Rule(("yes",), lambda args: args.move_to is not None, "is for --move-to, which is not given"),
    Rule(
        ("move_to",),
        lambda args: (
            "-" not in args.inputs and not any(is_live(i) or is_film(i) for i in args.inputs)
        ),
        "is for pictures in files, and standard input, films and cameras are none",
    ),
    Rule(
        ("watch",),
        lambda args: not args.inputs and args.files_from is None,
        "has no end, so no INPUT and no --files-from goes with it; it takes what is there, too",
    ),
    Rule(
        ("shard",),
        lambda args: args.watch is None and not any(map(is_live, args.inputs)),
        "is for what has an end, and --watch and cameras have none",
    ),
    Rule(
        ("move_to",),
        lambda args: not (args.watch and _leads_into(args.move_to, args.watch)),
        "leads into the folder of --watch, where each picture would arrive again",
    ),
    Rule(
        ("annotate",),
        lambda args: not is_film(args.annotate or "") or _is_one_film(args),
        "is a film, which shows one film or one camera: the only INPUT, and not FILE itself",
    ),
    Rule(
        ("annotate",),
        lambda args: is_film(args.annotate or "") or not _is_read(args.annotate or "", args),
        "leads into a folder that is read, where each picture would be found again",
    ),
    Rule(
        ("explain",),
        lambda args: not _is_read(args.explain or "", args),
        "leads into a folder that is read, where each page would be found again",
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
        ("camera_timeout", "camera_retries"),
        lambda args: not has_pictures(args) or any(map(is_live, args.inputs)),
        "is for cameras, and no INPUT is one",
    ),
    Rule(
        ("fps",),
        lambda args: not has_pictures(args) or _has_films(args) or any(map(is_live, args.inputs)),
        "is for cameras and films, and no INPUT is one",
    ),
    Rule(
        ("every",),
        lambda args: not has_pictures(args) or _has_films(args),
        "is for films, and no INPUT is one",
    ),
    Rule(
        ("every",),
        lambda args: args.fps is None,
        "and --fps exclude each other",
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
    """Whether anything is to be labelled."""
    return bool(args.inputs or args.files_from is not None or args.watch is not None)


def _has_films(args: argparse.Namespace) -> bool:
    return args.files_from is not None or any(map(is_film, args.inputs))


def _leads_into(template: str, folder: str) -> bool:
    """Whether pictures would be moved to somewhere in a folder."""
    return _is_in(os.path.dirname(template.split(PLACE)[0]) or ".", folder)


def _is_in(path: str, folder: str) -> bool:
    folder = os.path.realpath(folder)
    return os.path.commonpath([os.path.realpath(path), folder]) == folder


def _is_read(path: str, args: argparse.Namespace) -> bool:
    """Whether a folder is, or is in, one whose pictures are labelled."""
    folders = [*filter(os.path.isdir, args.inputs), *filter(None, [args.watch])]
    return any(_is_in(path, folder) for folder in folders)


def _is_one_film(args: argparse.Namespace) -> bool:
    """Whether all pictures are those of one film or camera, and it is not to be overwritten."""
    if len(args.inputs) != 1 or args.files_from is not None or args.watch is not None:
        return False
    (one,) = args.inputs
    return is_live(one) or (
        is_film(one) and os.path.realpath(one) != os.path.realpath(args.annotate)
    )


def region(text: str) -> tuple[int, int, int, int]:
    """Read `x,y,w,h`."""
    from snn_runtime.image.picture import MIN_SIDE  # here, since it loads Pillow

    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        left = -1
    if left < 0 or top < 0 or min(width, height) < MIN_SIDE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not x,y,w,h in pixels, each side {MIN_SIDE} or more: 0,120,640,480"
        )
    return left, top, width, height


def folder(text: str) -> str:
    """Read a folder that has the label in its name."""
    if PLACE not in text:
        raise argparse.ArgumentTypeError(f"{text!r} lacks {PLACE}, as in sorted/{PLACE}")
    return text


def annotated(text: str) -> str:
    """Read a folder, or a film to be written."""
    if is_film(text) and not text.lower().endswith(tuple(WRITTEN)):
        raise argparse.ArgumentTypeError(
            f"{text!r}: films are written as .mp4 for players, or as .webm for browsers"
        )
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


positive = number("above 0", lambda value: 0 < value <= 86_400)
"""Reads a number above 0, of at most a day."""
