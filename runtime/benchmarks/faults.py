"""snn-serve under load, when something ends: the server by SIGTERM, a decoder by SIGKILL.

    cd runtime && python -m benchmarks.faults photos/cat.jpg --cores 1 --clients 0

0.8 C is offered, as in `benchmarks.load`. SIGTERM: after it a refused connection and a 503 lose
nothing. A request that was sent and ends without an answer is lost, on a used connection too; here
no client asks again. A killed decoder: requests that fail, and when latency is as before.
"""

import argparse
import asyncio
import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator import Client, Outcome, closed, milliseconds, opened
from benchmarks.load import parser, pin
from benchmarks.pictures import draw_kills
from benchmarks.servers import Served, server

LOAD = 0.8
"""Part of the capacity that is offered."""
BEFORE, AFTER = 2.0, 3.0
"""Seconds that are offered before SIGTERM, and after it: two of grace and one in which nobody
listens."""
TERM_HEAD = (
    "SIGTERM,offered a second,sent,answered,of these after the signal,refused with 503,"
    "connections refused,lost,different answers,exit code,seconds to the end,causes"
)
KILLS = (4.0, 10.0, 16.0)
"""Seconds at which a decoder is killed."""
LENGTH, STEP = 22.0, 0.5
"""Seconds of that stretch, and of the steps whose medians tell how latency is."""
KILL_HEAD = (
    "decoder killed,seconds,answered until the next,refused until the next,"
    "99 % ms before the first,99 % ms of 2 s after,longest ms,seconds until latency is as before,"
    "failed in all,different answers in all,decoders at the end,causes"
)


async def ended(args: argparse.Namespace, name: str, rate: float) -> str:
    """A row: a server of its own that is told to end under load."""
    with server(args.cores, args.model) as served:
        client = Client(served.port, args.picture.read_bytes(), patient=False)
        await client.learn()
        await closed(client, 1.0)
        stretch = asyncio.create_task(opened(client, rate, BEFORE + AFTER))
        await asyncio.sleep(BEFORE)
        served.process.send_signal(signal.SIGTERM)
        told = time.perf_counter()
        code = await asyncio.to_thread(served.process.wait)
        lasted, outcome = time.perf_counter() - told, await stretch
    gone = sum(n for why, n in outcome.failed.items() if why.startswith("ConnectionRefused"))
    later = sum(due > told for due in outcome.when)
    cells = [outcome.due, len(outcome.good), later, len(outcome.refused), gone]
    cells += [outcome.failed.total() - gone, outcome.different, code]
    lost = Counter({why: n for why, n in outcome.failed.items() if "ConnectionRef" not in why})
    causes = Outcome(failed=lost).causes.replace(",", ";")
    return ",".join([name, f"{rate:.0f}", *map(str, cells), f"{lasted:.1f}", causes])


@dataclass
class Stretch:
    """What a load came to while decoders were killed."""

    outcome: Outcome
    begun: float
    kills: list[float]
    """Seconds from `begun`."""
    decoders: int
    """At the end."""

    @property
    def points(self) -> list[tuple[float, float]]:
        """When each answered request was due, seconds from the beginning, and its latency."""
        pairs = zip(self.outcome.when, self.outcome.good, strict=True)
        return sorted((due - self.begun, taken) for due, taken in pairs)

    def between(self, first: float, last: float) -> list[float]:
        return [taken for due, taken in self.points if first <= due < last]

    def as_before(self, kill: float, last: float) -> str:
        """Seconds from a kill until the median of a step, and of the next, is no longer than the
        longest before the first kill. Empty: not before the next kill."""
        usual = max(self._median(STEP * i) for i in range(2, int(self.kills[0] / STEP)))
        step = 0
        while kill + STEP * (step + 2) <= last:
            if all(self._median(kill + STEP * (step + i)) <= usual for i in range(2)):
                return f"{STEP * step:g}"
            step += 1
        return ""

    def _median(self, first: float) -> float:
        return statistics.median(self.between(first, first + STEP) or [float("inf")])

    def rows(self) -> list[str]:
        """A row for each kill. Failures and different answers are those of the whole stretch."""
        found, usual = [], milliseconds(self.between(1, self.kills[0]), 99)
        outcome, ends = self.outcome, [*self.kills[1:], LENGTH]
        for number, (kill, last) in enumerate(zip(self.kills, ends, strict=True)):
            here = self.between(kill, last)
            refused = sum(kill <= due - self.begun < last for due in outcome.refused_when)
            cells = [f"{number + 1}", f"{kill:.0f}", f"{len(here)}", f"{refused}", usual]
            cells += [milliseconds(self.between(kill, kill + 2), 99)]
            cells += [f"{1000 * max(here, default=0):.0f}", self.as_before(kill, last)]
            cells += [f"{outcome.failed.total()}", f"{outcome.different}", f"{self.decoders}"]
            found.append(",".join([*cells, outcome.causes.replace(",", ";")]))
        return found


async def killed(served: Served, client: Client, rate: float) -> Stretch:
    """Offer `rate`, and kill a decoder at each of `KILLS`."""
    begun = time.perf_counter()
    task = asyncio.create_task(opened(client, rate, LENGTH))
    kills = []
    for number, at in enumerate(KILLS):
        await asyncio.sleep(begun + at - time.perf_counter())
        children = served.children()
        os.kill(children[number % len(children)], signal.SIGKILL)
        kills.append(time.perf_counter() - begun)
    return Stretch(await task, begun, kills, len(served.children()))


async def terms(args: argparse.Namespace, rate: float) -> AsyncIterator[str]:
    for number in range(args.times):
        yield await ended(args, str(number + 1), rate)


async def ready(served: Served, args: argparse.Namespace) -> tuple[Client, float]:
    """A client, and the capacity."""
    client = Client(served.port, args.picture.read_bytes())
    await client.learn()
    await closed(client, 1.0)
    return client, await closed(client, 3.0)


async def measure(args: argparse.Namespace) -> None:
    with server(args.cores, args.model) as served:
        client, capacity = await ready(served, args)
        print(f"capacity: {capacity:.0f} a second\n{KILL_HEAD}")
        found = await killed(served, client, LOAD * capacity)
        print(*found.rows(), sep="\n")
        if args.plot:
            draw_kills(found.points, found.kills, args.plot)
    print(TERM_HEAD)
    async for row in terms(args, LOAD * capacity):
        print(row, flush=True)


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--times", type=int, default=5, help="that a server is ended")
    flags.add_argument("--plot", type=Path, help="a picture of the killed decoders, as PNG")
    args = flags.parse_args()
    pin(args.clients)
    asyncio.run(measure(args))


if __name__ == "__main__":
    main()
