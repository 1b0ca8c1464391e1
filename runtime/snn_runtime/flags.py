"""Grammar of the flags of all commands, and the rule that none of them may be without effect."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from snn_runtime.errors import UsageError
from snn_runtime.machine.cores import MOST

EXIT_CODES = """exit codes:
  0 ok   1 internal   2 usage   3 input   4 partial   5 model   6 device   7 resource
  8 diverged   9 verify   75 try again   129/130/143 stopped by a signal"""


_ABSENT = object()


@dataclass(frozen=True)
class Rule:
    """Where some flags have an effect; given anywhere else, they are refused."""

    flags: Sequence[str]
    """Their names in the namespace."""
    acts: Callable[[argparse.Namespace], object]
    """Whether they have one, given all that the command line says."""
    otherwise: str
    """What to say after a flag's name: what it is for, or what is missing."""


def check(args: argparse.Namespace, rules: Iterable[Rule]) -> None:
    """Raises: UsageError: `usage`: a flag of a rule is given and would have no effect."""
    for rule in rules:
        for name in rule.flags:
            if name in args.given and not rule.acts(args):
                raise UsageError("usage", f"{args.given[name]} {rule.otherwise}")


class _Once(argparse._StoreAction):
    """A flag that has one value: of two, nobody knows which was meant."""

    def __call__(
        self, parser: Any, args: argparse.Namespace, values: Any, flag: Any = None
    ) -> None:
        if self.option_strings and getattr(args, self.dest, _ABSENT) is not _ABSENT:
            raise argparse.ArgumentError(self, "is given twice, and has one value")
        super().__call__(parser, args, values, flag)


class Further(argparse.Action):
    """Adds its values to those that the same flag has given before."""

    def __call__(self, _: object, args: argparse.Namespace, values: Any, __: object = None) -> None:
        before = getattr(args, self.dest)
        setattr(args, self.dest, [*(() if before is _ABSENT else before), *values])


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are UsageErrors: one line and exit code 2."""

    def __init__(
        self, program: str, description: str, examples: str, rules: Sequence[Rule] = ()
    ) -> None:
        super().__init__(
            prog=program,
            description=description,
            epilog=f"{examples}\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.rules = rules
        for name in (None, "store"):
            self.register("action", name, _Once)
        self.add_argument("--version", action=_Version, help="show the version and exit")

    def read(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Return what the command line says, in `given` the flag of every name that it gives.

        Raises:
            UsageError: `usage`: it cannot be understood, or a flag would have no effect.
        """
        words = sys.argv[1:] if argv is None else argv
        for before, word in zip((self.prog, *words), words, strict=False):
            if word == "" or (word.startswith("--") and word.endswith("=")):
                name = f"'' behind {before}" if word == "" else f"'' in {word}"
                raise UsageError("usage", f"{name}: expected a value; is a variable not set?")
        actions = {a.dest: a for a in self._actions if a.default is not argparse.SUPPRESS}
        # What is there already gets no default, so whatever is not given stays marked.
        args = argparse.Namespace(**dict.fromkeys(actions, _ABSENT))
        self.parse_args(argv, args)
        args.given = {}
        for name, action in actions.items():
            if getattr(args, name) is _ABSENT:
                setattr(args, name, action.default)
            else:
                args.given[name] = max(action.option_strings, key=len, default=name)
        check(args, self.rules)
        return args

    def print_help(self, file: Any = None) -> None:
        """As argparse does, but for its silence where nothing can be written."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        raise UsageError("usage", f"{message} (see {self.prog} --help)")


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # slow to import, hardly ever needed

        print(f"{parser.prog} {version('iir-snn')}")
        parser.exit()


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader for the value of a flag: an integer from `least` to `most`."""
    expected = f"a whole number from {least}" + ("" if most is None else f" to {most}")

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return read


def number(
    expected: str, fits: Callable[[float], bool], kind: str = "number"
) -> Callable[[str], float]:
    """Return a reader for the value of a flag: a number that fits, as in "a number above 0"."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a {kind} {expected}")
        return value

    return read


def add_engine(parser: Parser) -> None:
    """Add the flags that choose an engine: see `engines.choice.Choice`."""
    add = parser.add_argument
    add(
        "--backend",
        default="auto",
        metavar="NAME",
        help="event (the spike-driven engine, for int8 networks), onnxruntime, tensorrt, "
        "or auto: event where it is here (default: auto)",
    )
    add(
        "--device",
        default="auto",
        metavar="NAME",
        help="cpu, cuda, or tensorrt (onnxruntime's provider of that name); cuda:1 is the second "
        "GPU. What is named is obeyed or refused (default: auto, the CPU)",
    )
    add(
        "--precision",
        default="auto",
        metavar="NAME",
        help="of tensorrt: int8, fp16, fp32, or auto, the fastest here (default: auto)",
    )
    add(
        "--threads",
        type=whole_number(1, MOST),
        metavar="N",
        help="that compute (default: one for each core this process or its container may use)",
    )
