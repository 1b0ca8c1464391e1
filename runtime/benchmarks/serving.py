"""All measurements of snn-serve under load but the long one, in about five minutes.

    cd runtime && python -m benchmarks.serving photos/cat.jpg --cores 0 --clients 1 --out FOLDER

Writes tables as CSV and pictures as PNG into the folder. The parts are `benchmarks.curve`,
`benchmarks.load`, `benchmarks.faults` and `benchmarks.beside`, which say what they measure.
The long one is `benchmarks.soak`. Needs: pip install fastapi uvloop
"""

import argparse
import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import beside, curve, faults, load
from benchmarks.generator import HEAD, Client, closed
from benchmarks.pictures import draw_curve, draw_kills, draw_rates
from benchmarks.servers import server

LIMITS: tuple[tuple[str, ...], ...] = ((), ("connections=1100", "header_seconds=60"))
"""Of the servers that hold idle connections: as they come, and enough for all of these."""


class Folder:
    """Where tables and pictures go."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self._place, self._begun = place, time.perf_counter()

    def table(self, name: str, rows: Iterable[str]) -> None:
        lines = list(rows)
        (self._place / f"{name}.csv").write_text("\n".join([*lines, ""]))
        print(f"{name}, after {time.perf_counter() - self._begun:.0f} s", *lines, sep="\n")
        print(flush=True)

    def picture(self, name: str) -> Path:
        return self._place / f"{name}.png"


async def loads(args: argparse.Namespace, folder: Folder) -> float:
    """The curve, the bursts and slow clients, on one server; returns the capacity."""
    with server(args.cores, args.model) as served:
        begin = served.megabytes
        client = Client(served.port, args.picture.read_bytes())
        await client.learn()
        await closed(client, 1.0)
        found = await curve.measure(client, args.seconds)
        folder.table("curve", found.rows())
        draw_curve(found.points(), (found.capacity, found.after), folder.picture("curve"))
        rows = load.overload(client, found.after, args.seconds)
        folder.table("load", [HEAD, *[row async for row in rows]])
        folder.table("slow", [row async for row in load.slow(client, served.port, found.after / 2)])
        told = [f"before,{found.capacity:.0f},{begin:.0f}"]
        told += [f"after the curve,{found.after:.0f},", f"at the end,,{served.megabytes:.0f}"]
        folder.table("capacity", ["when,answers a second,MB", *told])
    return found.after


async def crowds(args: argparse.Namespace, folder: Folder, capacity: float) -> None:
    rows = [load.IDLE_HEAD]
    for limits in LIMITS:
        with server(args.cores, args.model, limits) as served:
            client = Client(served.port, args.picture.read_bytes())
            await client.learn()
            limit = load.limit_of(limits)
            rows.append(await load.idle(served, client, capacity / 2, limit, args.seconds))
    folder.table("idle", rows)


async def ends(args: argparse.Namespace, folder: Folder, capacity: float) -> None:
    """SIGTERM, and killed decoders."""
    rate = faults.LOAD * capacity
    folder.table("sigterm", [faults.TERM_HEAD, *[row async for row in faults.terms(args, rate)]])
    with server(args.cores, args.model) as served:
        client = Client(served.port, args.picture.read_bytes())
        await client.learn()
        await closed(client, 1.0)
        found = await faults.killed(served, client, rate)
    folder.table("killed", [faults.KILL_HEAD, *found.rows()])
    draw_kills(found.points, found.kills, folder.picture("killed"))


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    flags = load.parser(__doc__)
    flags.add_argument("--out", type=Path, required=True, help="folder for CSV and PNG")
    flags.add_argument("--seconds", type=float, default=4.0, help="of each stretch")
    flags.add_argument("--times", type=int, default=5, help="that a server is ended")
    flags.add_argument("--rounds", type=int, default=5, help="beside the handler")
    flags.add_argument("--lasting", type=float, default=1.5, help="seconds of each turn of these")
    return flags.parse_args(words)


def main() -> None:
    args = arguments()
    beside.check()
    load.pin(args.clients)
    folder = Folder(args.out)
    capacity = asyncio.run(loads(args, folder))
    asyncio.run(crowds(args, folder, capacity))
    asyncio.run(ends(args, folder, capacity))
    rates, table = beside.measure(args)
    folder.table("beside", table)
    draw_rates(rates, folder.picture("beside"))


if __name__ == "__main__":
    main()
