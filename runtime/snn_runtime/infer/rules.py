"""Where each flag of `snn-infer` has an effect; anywhere else it is refused."""

import argparse
import os
from functools import partial

from snn_runtime.flags import Rule
from snn_runtime.infer.values import PLACE, is_one
from snn_runtime.video.names import is_film, is_live

OF_PICTURES = (
    *("follow", "shard", "resume", "top_k", "format", "strict", "only_label", "threshold"),
    *("every", "fps", "camera_timeout", "camera_retries", "crop", "annotate", "move_to", "yes"),
    *("explain", "on_label", "post"),
    *("max_pixels", "max_bytes"),
)


def _fits_one(flag: str, args: argparse.Namespace) -> bool:
    """Whether a flag names a folder, or another file than the only picture."""
    path = getattr(args, flag)
    if not is_one(path):
        return True
    return _is_alone(args) and not (
        os.path.isdir(one := args.inputs[0])
        or one == "-"
        or is_live(one)
        or is_film(one)
        or os.path.realpath(one) == os.path.realpath(path)
    )


_WRITTEN = ("annotate", "explain", "resume")


def _is_its_own(flag: str, args: argparse.Namespace) -> bool:
    """Whether a flag names a file that no other flag writes or reads, and no INPUT is."""
    path = getattr(args, flag)
    if flag != "resume" and not is_one(path) and not is_film(str(path)):
        return True  # a folder, in which nothing is replaced
    others = [getattr(args, name) for name in (*_WRITTEN, "model", "files_from") if name != flag]
    if flag == "resume":  # the others have rules of their own for what they show
        others += args.inputs
    known = {os.path.realpath(each) for each in others if each is not None and str(each) != "-"}
    return os.path.realpath(path) not in known


RULES = (
    *(
        Rule(
            (name,),
            partial(_is_its_own, name),
            "names a file that another flag names, too, or an INPUT: one would replace the other",
        )
        for name in _WRITTEN
    ),
    Rule(
        ("resume",),
        lambda args: args.format == "json" or "format" not in args.given,
        "keeps JSON lines, and --format is another",
    ),
    Rule(
        ("resume",),
        lambda args: "-" not in args.inputs,
        "leaves out pictures by their names, and those of standard input have none: save them as "
        "files, or append their answers by --format json - >> FILE",
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
    *(
        Rule(
            (name,),
            partial(_fits_one, name),
            "is a picture, which shows one: the only INPUT, a file, and not FILE itself; a folder "
            "takes many",
        )
        for name in ("annotate", "explain")
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


def _is_alone(args: argparse.Namespace) -> bool:
    """Whether there is one INPUT and nothing else."""
    return len(args.inputs) == 1 and args.files_from is None and args.watch is None


def _is_one_film(args: argparse.Namespace) -> bool:
    """Whether all pictures are those of one film or camera, and it is not to be overwritten."""
    return _is_alone(args) and (
        is_live(one := args.inputs[0])
        or (is_film(one) and os.path.realpath(one) != os.path.realpath(args.annotate))
    )
