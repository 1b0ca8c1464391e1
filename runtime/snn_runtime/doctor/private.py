"""Taking out of a report what is nobody's business: names of people and hosts, home folders.

No probe looks for them, but the message of an error may hold a path or a name.
"""

import os
import pwd
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(private)"
_NOBODYS = frozenset(
    "root cpu cuda event onnxruntime tensorrt nvidia jetson ubuntu debian pi".split()
)
"""Words of reports, and users that systems come with: nobody is known by them, and what to install
would be hidden."""
_HOMES = r"(?:/home|/root|/Users)(?=[/\s'\",:;)\]]|$)[^\s'\",:;)\]]*"


def names_here() -> tuple[str, ...]:
    """Names of this host and of who runs this, and the path of the home folder."""
    found = {os.uname().nodename, os.path.expanduser("~")}
    found |= {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    try:
        entry = pwd.getpwuid(os.getuid())
        found |= {entry.pw_name, entry.pw_dir}
    except KeyError:  # a container may run a number without a name
        pass
    return tuple(sorted(found - {"", "/", "~"} - _NOBODYS, key=len, reverse=True))


def without(value: Any, names: tuple[str, ...]) -> Any:
    """Return `value`, of JSON's types, with `names` and home folders replaced in its strings."""
    if isinstance(value, str):
        return _hidden(value, names)
    if isinstance(value, Mapping):
        return {key: without(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without(item, names) for item in value]
    return value


def _hidden(text: str, names: tuple[str, ...]) -> str:
    for name in names:
        if name.startswith("/"):  # and all that follows
            text = re.sub(rf"{re.escape(name)}(?![\w.-])[^\s'\",:;)\]]*", HIDDEN, text)
    text = re.sub(_HOMES, HIDDEN, text)
    words = "|".join(re.escape(name) for name in names if not name.startswith("/"))
    return re.sub(rf"(?<![\w-])(?:{words})(?![\w-])", HIDDEN, text) if words else text
