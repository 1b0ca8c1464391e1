"""The commands as shells and man pages want them: their flags, and what values these take.

Read off the parsers. What a parser does not say is in `WORDS`, `FILES` and `SUFFIXES`.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import NoReturn, get_args
from unittest import mock

from snn_bench.flags import TWIN
from snn_bench.topology import TOPOLOGIES
from snn_runtime.engines.choice import BACKENDS, BackendName, Precision
from snn_runtime.flags import Further, Parser
from snn_serve.limits import Limits

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
DATA: Sequence[str] = import_module("snn_train.choices").DATA
"""Such as `imagefolder:DIR`, and `mnist[:DIR]` where the rest may be left out."""
WORDS: dict[str, Iterable[str]] = {
    "--against": (TWIN,),
    "--backend": get_args(BackendName),
    "--data": [re.sub(r"\[.*|DIR", "", name) for name in DATA],
    "--device": ("auto", *dict.fromkeys(place for _, place in BACKENDS)),
    "train-snn --device": ("auto", "cpu", "cuda"),
    "train-snn --from": ("bundled",),
    "--limit": [f"{field.name}=" for field in fields(Limits)],
    "--precision": get_args(Precision),
    "--topology": TOPOLOGIES,
}
"""What a flag without choices takes, a command's own before all commands'. A word that ends with
: or = is gone on with."""
FILES = ("--files-from", "--labels", "--module")
"""Flags that take a file, beside those whose metavar or type says so."""
SUFFIXES = {"--model": "onnx", "--module": "py"}
"""How the files end that are offered first."""


@dataclass(frozen=True)
class Flag:
    """A flag; or a positional argument, which has no names."""

    names: tuple[str, ...]
    value: str
    """As a usage line shows it; "" if it takes none."""
    help: str
    many: bool
    """Takes several values, or as many as there are."""
    again: bool
    """Adds its values to those that it gave before."""
    words: tuple[str, ...]
    files: str
    """A pattern of the files that it takes; "" if none."""
    folders: bool

    @property
    def usage(self) -> str:
        """The flag in its longest form, with its value."""
        return " ".join(filter(None, (*self.names[-1:], self.value)))


@dataclass(frozen=True)
class Group:
    """Flags under a heading of --help."""

    title: str
    description: str
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class Command:
    """A command and all that its --help says."""

    name: str
    description: str
    epilog: str
    groups: tuple[Group, ...]
    either: tuple[tuple[str, ...], ...]
    """Flags of which one has to be given, in their longest forms."""

    @property
    def flags(self) -> list[Flag]:
        return [flag for group in self.groups for flag in group.flags if flag.names]

    @property
    def arguments(self) -> list[Flag]:
        """The positional ones."""
        return [flag for group in self.groups for flag in group.flags if not flag.names]


def commands() -> list[Command]:
    """Return those that pyproject.toml names, in its order."""
    scripts = re.findall(r'^([\w-]+) = "([\w.]+):main"$', PROJECT.read_text("utf-8"), re.MULTILINE)
    return [_command(name, _parser(module)) for name, module in scripts]


class _BuiltError(Exception):
    """Raised in place of reading a command line."""


def _parser(module: str) -> Parser:
    """Return the parser that `parse_args` builds and keeps to itself."""
    built = list[Parser]()

    def read(parser: Parser, _: object) -> NoReturn:
        built.append(parser)
        raise _BuiltError

    with mock.patch.object(Parser, "read", read):
        try:
            import_module(module).parse_args([])
        except _BuiltError:
            pass
    return built[0]


def _command(name: str, parser: Parser) -> Command:
    groups = [
        Group(
            group.title or "",
            group.description or "",
            tuple(_flag(name, action) for action in group._group_actions),
        )
        for group in parser._action_groups
    ]
    either = [
        tuple(action.option_strings[-1] for action in group._group_actions)
        for group in parser._mutually_exclusive_groups
    ]
    filled = tuple(group for group in groups if group.flags)
    return Command(name, parser.description or "", parser.epilog or "", filled, tuple(either))


def _flag(command: str, action: argparse.Action) -> Flag:
    name = action.option_strings[-1] if action.option_strings else action.dest
    words = action.choices or WORDS.get(f"{command} {name}") or WORDS.get(name) or ()
    metavar = str(action.metavar or "")
    folders = re.fullmatch(r"FOLDER|DIR(/.*)?", metavar) is not None
    files = action.type is Path or name in FILES or re.search("FILE|PATH|INPUT", metavar)
    pattern = f"*.{SUFFIXES.get(name, '*')}".replace(".*", "")
    return Flag(
        tuple(action.option_strings),
        _value(action),
        (action.help or "") % {**vars(action), "prog": command},
        action.nargs in ("*", "+"),
        isinstance(action, Further),
        tuple(map(str, words)),
        pattern if files and not folders else "",
        folders,
    )


def _value(action: argparse.Action) -> str:
    """As argparse shows it, which itself does so in private."""
    if action.nargs == 0:
        return ""
    name = action.dest.upper() if action.option_strings else action.dest
    if action.metavar is not None:
        name = str(action.metavar)
    elif action.choices is not None:
        name = f"{{{','.join(map(str, action.choices))}}}"
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(
        str(action.nargs), name
    )
