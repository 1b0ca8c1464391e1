"""The man page of a command, in the macros of man(7)."""

import re
from collections.abc import Iterator, Sequence

from shell_commands import Command, Flag

DATE = "2026-11-27"
"""Of the last change that a reader notices, by hand: a clock would change the pages every day."""
SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti",
           "…": "..."}  # fmt: skip
TITLES = {"positional arguments": ".SH ARGUMENTS", "options": ".SH OPTIONS"}
"""Headings of argparse's own groups."""


def manual(command: Command, others: Sequence[str]) -> str:
    """Return the page; `others` are named in SEE ALSO."""
    name, summary = _roff(command.name), command.description.rstrip(".")
    blocks = [block.split("\n", 1) for block in command.epilog.split("\n\n")]
    shown = {head[:-1]: rest[0] for head, *rest in blocks if head.endswith(":") and rest}
    notes = [_roff(" ".join(block)) for block in blocks if block[0][:-1] not in shown]
    codes, examples = shown.pop("exit codes"), shown.pop("examples")
    lines = [
        f'.TH {name.upper()} 1 {DATE} iir\\-snn "Commands of iir\\-snn"',
        *(".SH NAME", f"{name} \\- {_roff(summary[0].lower() + summary[1:])}"),
        *(".SH SYNOPSIS", ".nh", ".ad l", f".B {name}", *_synopsis(command)),
        *(".SH DESCRIPTION", _roff(command.description)),
        *_options(command),
        *(".SH EXIT STATUS", *_as_it_is(codes)),
        *([".SH NOTES", "\n.PP\n".join(notes)] if notes else []),
        *(".SH EXAMPLES", *_as_it_is(examples)),
        *[line for head, text in shown.items() for line in (_heading(head), *_as_it_is(text))],
        *(".SH SEE ALSO", ",\n".join(f".BR {_roff(other)} (1)" for other in others)),
    ]
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> Iterator[str]:
    either = {name: names for names in command.either for name in names}
    for flag in command.flags:
        names = either.get(flag.names[-1], flag.names[-1:])
        if flag.names[-1] == names[0]:
            alternatives = [_usage(f) for f in command.flags if f.names[-1] in names]
            opening, closing = "()" if len(names) > 1 else "[]"
            yield f"{opening}{' | '.join(alternatives)}{closing}".replace(" ", "\\ ")
    for flag in command.arguments:
        yield f"\\fI{_roff(flag.value)}\\fR"


def _options(command: Command) -> Iterator[str]:
    for group in command.groups:
        yield TITLES.get(group.title) or _heading(group.title)
        if group.description:
            yield _roff(group.description)
        for flag in group.flags:
            yield f".TP\n{_usage(flag)}"
            yield _roff(flag.help) or "\\&"


def _usage(flag: Flag) -> str:
    """The names in bold, the value in italics, which may be broken behind a comma."""
    names = [f"\\fB{_roff(name)}\\fR" for name in flag.names]
    value = f"\\fI{_roff(flag.value)}\\fR".replace(",", ",\\:") if flag.value else ""
    return " ".join(filter(None, (", ".join(names), value)))


def _heading(title: str) -> str:
    return f'.SS "{_roff(title[0].upper() + title[1:])}"'


def _as_it_is(text: str) -> list[str]:
    """Examples and tables, line by line, moved to the margin."""
    return [".nf", *(_roff(line.removeprefix("  ")) for line in text.splitlines()), ".fi"]


def _roff(text: str) -> str:
    """Text as it is to be read: no letter is a command, none needs a locale."""
    text = "".join(SPECIAL.get(letter, letter) for letter in text)
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return re.sub(r"^(?=[.])", r"\\&", text)
