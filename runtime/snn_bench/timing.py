"""Interleaved timing: all contenders in every round, so that all of them see the same machine."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Call: TypeAlias = Callable[[int], object]
"""Answers the batch of that number; they go round, so that −1 is the last."""
Samples: TypeAlias = npt.NDArray[np.float64]
"""Seconds of each call."""
MOST_CALLS = 10_000
"""Largest number of calls of one contender in one round."""


@dataclass(frozen=True)
class Protocol:
    """How long and how often to measure."""

    rounds: int = 20
    duration: float = 2.0
    """Seconds for each contender, over all rounds; a slow one gets one call a round."""
    warm_up: int = 3
    """Calls of each contender before the first round."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one call, over all calls of all rounds."""

    p50: float
    p90: float
    p99: float
    quiet: float
    """Mean over the batches of the fastest call with each: what a quiet machine takes. The fastest
    call of all would be the picture with the fewest spikes."""
    mean: float
    calls: int
    calls_a_batch: float
    """Calls with each batch of pictures: the fastest of few is longer than that of many."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long another contender took, round by round."""

    median: float
    p10: float
    p90: float
    min: float
    max: float
    rounds: int
    quiet: float
    """Of the other ÷ of ours, over all rounds."""


def race(calls: Sequence[Call], protocol: Protocol) -> list[list[Samples]]:
    """Time every call in every round and return `[contender][round]` of samples.

    Each round begins with another contender. Before its turn a contender makes one call that does
    not count: the others have just emptied the caches of its weights. It is with the batch before
    the first that counts, which nothing should know yet.
    """
    expected = [warm_up(call, protocol.warm_up) for call in calls]
    budget = protocol.duration / protocol.rounds
    repeats = [int(np.clip(budget / seconds, 1, MOST_CALLS)) for seconds in expected]
    numbers = [0] * len(calls)
    samples: list[list[Samples]] = [[] for _ in calls]
    was_collecting = gc.isenabled()
    gc.disable()  # a collection would be charged to the contender that happens to run
    try:
        for turn in range(protocol.rounds):
            for step in range(len(calls)):
                who = (turn + step) % len(calls)
                calls[who](numbers[who] - 1)
                samples[who].append(_timed(calls[who], numbers[who], repeats[who]))
                numbers[who] += repeats[who]
    finally:
        if was_collecting:
            gc.enable()
    return samples


def warm_up(call: Call, times: int) -> float:
    """Call at least twice and return the shortest time of all but the first, in seconds."""
    return float(_timed(call, 0, max(2, times))[1:].min())


def summarise(samples: Sequence[Samples], batches: int) -> Latency:
    """Percentiles over all calls of all rounds, which went round so many batches."""
    calls = np.concatenate(samples)
    p50, p90, p99 = np.percentile(calls, [50, 90, 99])
    mean = float(calls.mean())
    calm, times = quiet(samples, batches), len(calls) / batches
    return Latency(float(p50), float(p90), float(p99), calm, mean, len(calls), times)


def quiet(samples: Sequence[Samples], batches: int) -> float:
    """Mean over the batches, as far as they were called, of the fastest call with each."""
    calls = np.concatenate(samples)
    return float(np.mean([calls[first::batches].min() for first in range(batches)[: len(calls)]]))


def ratio(others: Sequence[Samples], ours: Sequence[Samples], batches: tuple[int, int]) -> Ratio:
    """Median call of the other ÷ median call of ours in each round; more than 1: ours is faster.

    Args:
        batches: How many the other goes round, and ours.
    """
    pairs = zip(others, ours, strict=True)
    ratios = np.array([np.median(other) / np.median(mine) for other, mine in pairs])
    p10, p50, p90 = np.percentile(ratios, [10, 50, 90])
    least, most = float(ratios.min()), float(ratios.max())
    calm = quiet(others, batches[0]) / quiet(ours, batches[1])
    return Ratio(float(p50), float(p10), float(p90), least, most, len(ratios), calm)


def _timed(call: Call, first: int, times: int) -> Samples:
    samples = np.empty(times)
    clock = time.perf_counter
    for index in range(times):
        start = clock()
        call(first + index)
        samples[index] = clock() - start
    return samples
