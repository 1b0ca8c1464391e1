"""The user's own code: the function that builds a module, found and run.

What it prints goes to stderr, because stdout is the command's answer.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

from torch import nn

from snn_runtime import door
from snn_runtime.errors import InputError, ModelError, UsageError

LARGEST = 16 * 2**20
"""Bytes of a file of Python."""


@contextmanager
def aside() -> Iterator[None]:
    """Let what is printed meanwhile go to stderr."""
    with redirect_stdout(sys.stderr):
        yield


def built(builder: str) -> nn.Module:
    """Return what `net.py:build` or `package.net:build` makes.

    Raises:
        UsageError: there is no such function.
        ModelError: it raises, or returns no module.
    """
    place, _, name = builder.rpartition(":")
    if not place or not name.isidentifier():
        raise UsageError("bad_flag", f"--module {builder}: expected FILE.py:FUNCTION")
    function = getattr(_imported(place, builder), name, None)
    if not callable(function):
        raise UsageError("bad_flag", f"--module {builder}: {place} has no function {name}")
    try:
        network = function()
    except (Exception, SystemExit) as error:  # the user's own code can raise anything
        problem = f"{type(error).__name__}: {error}"[:200]
        raise ModelError("unsupported", f"{builder}: raised {problem}") from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise ModelError("unsupported", f"{builder}: returned a {kind}, expected a torch module")
    return network


def _imported(place: str, builder: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _run(Path(place).resolve())
        _search_first(Path.cwd())  # of an installed command, sys.path begins with its own folder
        return importlib.import_module(place)
    except InputError as error:
        raise UsageError(
            "bad_flag", f"--module {builder}: cannot be imported, {error.message}"
        ) from error
    except (Exception, SystemExit) as error:  # the user's own code can raise anything
        problem = f"{type(error).__name__}: {error}"[:200]
        raise UsageError(
            "bad_flag", f"--module {builder}: cannot be imported ({problem})"
        ) from error


def _run(path: Path) -> ModuleType:
    door.size(path, LARGEST)
    # Its own name may be that of a module that is needed, such as json.
    spec = importlib.util.spec_from_file_location(f"module_{path.stem}", path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    _search_first(path.parent)  # so that it finds its neighbours, as if it were run
    sys.modules[spec.name] = module  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _search_first(folder: Path) -> None:
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
