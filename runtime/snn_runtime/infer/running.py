"""A command that is run where a label comes up: no shell reads it."""

import re
import subprocess
from collections.abc import Sequence

from snn_runtime.answer import Answer
from snn_runtime.condition import Condition
from snn_runtime.errors import ResourceError
from snn_runtime.infer.sources import Source

_STDERR = 2
_NAMED = re.compile(r"\{(path|label|probability)\}")


class Running:
    """Runs a command for the pictures of a label, one after the other.

    `{path}`, `{label}` and `{probability}` stand for what they say in any of its words. Its
    standard input is the picture where that is no file, and empty else. What it prints goes to
    standard error, where no answers are.
    """

    def __init__(self, condition: Condition, command: Sequence[str]) -> None:
        self._condition = condition
        self._command = command

    def __call__(self, source: Source, answer: Answer) -> str:
        """Run the command where the condition holds; there is nothing to say if it succeeds.

        Raises:
            ResourceError: `child_failed`: it cannot be run, or fails.
        """
        if not self._condition.holds(answer):
            return ""
        name = f"./{source.name}" if source.name.startswith("-") else source.name
        known = {"path": name, "label": answer.label, "probability": f"{answer.probability:.4f}"}
        words = [_NAMED.sub(lambda found: known[found[1]], word) for word in self._command]
        try:
            # No time limit: only the user knows how long the command may take.
            done = subprocess.run(words, input=source.data or b"", stdout=_STDERR, check=False)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ResourceError("child_failed", f"{words[0]} cannot be run: {reason}") from error
        if done.returncode:
            how = "exit code" if done.returncode > 0 else "signal"
            raise ResourceError(
                "child_failed", f"{words[0]} ended with {how} {abs(done.returncode)}"
            )
        return ""
