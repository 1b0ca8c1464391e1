"""What the server counts, in the text form of Prometheus."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._layers: dict[str, set[str]] = {}
        """Those of each model that have a firing rate."""

        def histogram(name: str, what: str, label: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, what, [label], buckets=buckets, registry=registry)

        self.requests = Counter(
            "snn_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.request_seconds = histogram(
            "snn_request_seconds", "From the head of a request to its answer.", "route", _SECONDS
        )
        self.decode_seconds = histogram(
            "snn_decode_seconds", "Decoding of a picture, with its wait.", "model", _SECONDS
        )
        self.queue_seconds = histogram(
            "snn_queue_seconds", "Wait of a picture for the engine.", "model", _SECONDS
        )
        self.engine_seconds = histogram(
            "snn_engine_seconds", "The engine, a batch.", "model", _SECONDS
        )
        self.batch_size = histogram(
            "snn_batch_size", "Pictures that the engine was given at once.", "model", _BATCHES
        )
        self.waiting = Gauge(
            "snn_waiting", "Pictures between admission and answer.", ["model"], registry=registry
        )
        self.held_bytes = Gauge(
            "snn_held_bytes", "Bodies of requests, as far as they have come.", registry=registry
        )
        self.decoding = Gauge("snn_decoding", "Pictures at the decoders.", registry=registry)
        self.decoders_lost = Counter(
            "snn_decoders_lost", "Decoders that ended or were ended.", registry=registry
        )
        self.posts = Counter(
            "snn_posts",
            "Answers for --post: posted, failed, dropped.",
            ["outcome"],
            registry=registry,
        )
        self.spike_rate = Gauge(
            "snn_spike_rate",
            "Part of a layer's neurons that fired for the last picture looked at.",
            ["model", "layer"],
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request. There are few routes and statuses; looking them up costs the most."""
        if (key := (route, status)) not in self._answered:
            count = self.requests.labels(route, str(status))
            self._answered[key] = count, self.request_seconds.labels(route)
        count, histogram = self._answered[key]
        count.inc()
        histogram.observe(seconds)

    def saw_spikes(self, model: str, spikes: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Remember the firing rates of one picture, and none of a model that had this name."""
        for gone in self._layers.get(model, set()) - spikes.keys():
            self.spike_rate.remove(model, gone)
        self._layers[model] = set(spikes)
        for layer, sent in spikes.items():
            self.spike_rate.labels(model, layer).set(float(np.count_nonzero(sent)) / sent.size)

    def forget(self, model: str) -> None:
        """Show nothing more of a model that is served no longer."""
        self.saw_spikes(model, {})
        timed = (self.decode_seconds, self.queue_seconds, self.engine_seconds, self.batch_size)
        for each in (*timed, self.waiting):
            with suppress(KeyError):  # it is forgotten already
                each.remove(model)

    def text(self) -> bytes:
        """Return what Prometheus reads."""
        return bytes(generate_latest(self._registry))
