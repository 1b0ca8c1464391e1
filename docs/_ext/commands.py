"""The directive `command-help`: what a command prints for --help, taken from the command itself.

```{command-help} snn-infer
```
"""

import os
import subprocess
import sys
from importlib.metadata import entry_points

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

COLUMNS = "92"


class CommandHelp(Directive):
    """A literal block with the help of one of this distribution's commands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        command = self.arguments[0]
        found = [p for p in entry_points(group="console_scripts") if p.name == command]
        if not found:
            raise self.error(f"command-help: {command!r} is not a command of this distribution")
        module, function = found[0].value.split(":")
        program = (
            f"import sys; sys.argv[0] = {command!r}; from {module} import {function}; {function}()"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "--help"],
            env={**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise self.error(f"command-help: {command} --help failed: {done.stderr}")
        block = nodes.literal_block(done.stdout, done.stdout, language="text")
        return [block]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
