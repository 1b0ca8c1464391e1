"""Answers of a label, posted to an address."""

from collections.abc import Iterable
from dataclasses import dataclass

from snn_runtime.answer import Answer
from snn_runtime.condition import Condition
from snn_runtime.model import Model
from snn_runtime.webhook import Outcome, Webhook
from snn_serve.metrics import Metrics


@dataclass(frozen=True)
class Subscription:
    """What is to be posted, and where to."""

    condition: Condition
    url: str

    def check(self, models: Iterable[Model]) -> None:
        """Raises: UsageError: `bad_flag`: none of them has the label."""
        self.condition.check([label for model in models for label in model.labels])


class Hook:
    """Posts the answers that are subscribed to, and counts what becomes of them."""

    def __init__(self, subscription: Subscription, metrics: Metrics) -> None:
        self._condition, self._metrics = subscription.condition, metrics
        self._webhook = Webhook(subscription.url, count=self._count)

    def __call__(self, model: str, answer: Answer) -> None:
        """Post the answer of a model where the condition holds; return at once."""
        if self._condition.holds(answer):
            self._webhook.post({"ok": True, **answer.record(), "model": model})

    def _count(self, outcome: Outcome) -> None:
        self._metrics.posts.labels(outcome).inc()

    def close(self) -> None:
        """Wait a little for what is on its way."""
        self._webhook.close()
