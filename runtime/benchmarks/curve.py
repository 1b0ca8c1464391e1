"""How answers and refusals of snn-serve go with the load, from a fifth to three times the capacity.

    cd runtime && python -m benchmarks.curve photos/cat.jpg --clients 1 --plot curve.png > curve.csv

The capacity C is measured before and after, as in `benchmarks.load`.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator import HEAD, Client, Outcome, closed, opened
from benchmarks.load import parser, pin
from benchmarks.pictures import Point, draw_curve
from benchmarks.servers import Served, server

FACTORS = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0)
"""Of the capacity."""
CURVE_HEAD = f"{HEAD},in time a second,of the capacity in time"


@dataclass(frozen=True)
class Curve:
    """What was found at each load."""

    capacity: float
    """A second, before."""
    after: float
    outcomes: dict[float, Outcome]
    """By the part of the capacity that was offered."""
    seconds: float

    def rows(self) -> list[str]:
        found = [CURVE_HEAD]
        for factor, outcome in self.outcomes.items():
            timely = outcome.in_time(self.seconds)
            row = outcome.row(f"{factor:g} C", self.seconds)
            found.append(f"{row},{timely:.0f},{timely / self.capacity:.2f}")
        return found

    def points(self) -> list[Point]:
        return [
            Point(
                offered=outcome.due / self.seconds,
                answered=outcome.in_time(self.seconds),
                refused=len(outcome.refused) / self.seconds,
                failed=outcome.failed.total() / self.seconds,
                answers=outcome.good,
                refusals=outcome.refused,
            )
            for outcome in self.outcomes.values()
        ]


async def measure(client: Client, seconds: float) -> Curve:
    capacity = await closed(client, seconds)
    outcomes = {factor: outcome async for factor, outcome in loads(client, capacity, seconds)}
    return Curve(capacity, await closed(client, seconds), outcomes, seconds)


async def loads(
    client: Client, capacity: float, seconds: float
) -> AsyncIterator[tuple[float, Outcome]]:
    for factor in FACTORS:
        yield factor, await opened(client, factor * capacity, seconds)


async def run(served: Served, args: argparse.Namespace) -> Curve:
    client = Client(served.port, args.picture.read_bytes())
    await client.learn()
    await closed(client, 1.0)
    return await measure(client, args.seconds)


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--seconds", type=float, default=4.0, help="of each stretch")
    flags.add_argument("--plot", type=Path, help="a picture, as PNG")
    args = flags.parse_args()
    with server(args.cores, args.model) as served:
        pin(args.clients)
        found = asyncio.run(run(served, args))
    print(*found.rows(), sep="\n")
    if args.plot:
        draw_curve(found.points(), (found.capacity, found.after), args.plot)


if __name__ == "__main__":
    main()
