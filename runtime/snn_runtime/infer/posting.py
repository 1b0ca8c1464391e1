"""Answers of a label, posted to an address."""

from collections.abc import Iterable

from snn_runtime.answer import Answer
from snn_runtime.command import say
from snn_runtime.condition import Condition
from snn_runtime.errors import ResourceError
from snn_runtime.infer import PROGRAM
from snn_runtime.infer.records import labelled
from snn_runtime.infer.sources import Source
from snn_runtime.webhook import TIMEOUT, Webhook


class Posting:
    """Posts the answers of a label, each as its line of `--format json`.

    Pictures that come to an end wait for a receiver that takes posts more slowly than they are
    labelled; those of a camera would be old.
    """

    def __init__(self, condition: Condition, url: str, *, waits: bool) -> None:
        self._condition = condition
        self.webhook = Webhook(url, patience=2 * TIMEOUT if waits else 0.0, tell=_told)

    def __call__(self, source: Source, answer: Answer) -> str:
        """Post where the condition holds; what becomes of it is seen later."""
        if self._condition.holds(answer):
            self.webhook.post(labelled(source.name, answer))
        return ""


def _told(why: str) -> None:
    say(f"{PROGRAM}: error: {ResourceError('not_posted', why)}")


def lost(actions: Iterable[object]) -> int:
    """Wait a little for what is on its way, and return how many posts were lost."""
    return sum(each.webhook.close() for each in actions if isinstance(each, Posting))
