"""Answers of a label, posted to an address."""

from collections.abc import Iterable

from snn_runtime.answer import Answer
from snn_runtime.condition import Condition
from snn_runtime.infer.records import labelled
from snn_runtime.infer.sources import Source
from snn_runtime.webhook import Webhook


class Posting:
    """Posts the answers of a label, each as its line of `--format json`."""

    def __init__(self, condition: Condition, url: str) -> None:
        self._condition, self.webhook = condition, Webhook(url)

    def __call__(self, source: Source, answer: Answer) -> str:
        """Post where the condition holds; nobody waits, so there is nothing to say."""
        if self._condition.holds(answer):
            self.webhook.post(labelled(source.name, answer))
        return ""


def lost(actions: Iterable[object]) -> int:
    """Wait a little for what is on its way, and return how many posts were lost."""
    return sum(each.webhook.close() for each in actions if isinstance(each, Posting))
