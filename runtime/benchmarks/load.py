"""snn-serve under load.

    cd runtime && python -m benchmarks.load photos/cat.jpg --cores 1 --clients 0

Starts a server, finds its capacity C with 32 clients that each wait for their answer, then offers
0.5, 0.8, 1, 2 and 10 C as a Poisson process. Latency counts from the moment that a request was due.
Every answer is compared with the answer alone. Beside it, 1,000 connections that say nothing; with
`--limit connections=1100 header_seconds=60` the server holds all of them.

With `--slow` 120 clients send a byte a second of a head, 120 of a body, while C/2 is offered.
With `--pairs N` only twice the capacity is measured, N times, each between two measures of C: on a
machine whose speed changes, the ratio says more than each alone.
"""

import argparse
import asyncio
import os
import socket
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from benchmarks.generator import HEAD, Client, Outcome, closed, milliseconds, opened
from benchmarks.servers import Served, server

SHORT = 2.0
"""Seconds of the burst of 10 C."""
IDLE = 1000
IDLE_HEAD = (
    "limit of connections,opened,still open,MB,MB with them,answer median ms,answer 99 % ms,"
    "with them median ms,with them 99 % ms,health check median ms,health check longest ms,failed"
)


async def idle(served: Served, client: Client, rate: float, limit: int, seconds: float) -> str:
    """A row: answers at `rate` and health checks, while many connections say nothing."""
    begin, before = served.megabytes, await opened(client, rate, seconds)
    pairs = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(IDLE)]
    loaded = await opened(client, rate, seconds)
    times = [await asyncio.to_thread(probe, served.port) for _ in range(50)]
    # Those that are still open have nothing to read.
    looks = [asyncio.create_task(reader.read(1)) for reader, _ in pairs]
    _, kept = await asyncio.wait(looks, timeout=0.5)
    end = served.megabytes
    for look in kept:
        look.cancel()
    await asyncio.gather(*looks, return_exceptions=True)
    for _, writer in pairs:
        writer.close()
    cells = [f"{limit}", f"{IDLE}", f"{len(kept)}", f"{begin:.0f}", f"{end:.0f}"]
    cells += [milliseconds(each.good, part) for each in (before, loaded) for part in (50, 99)]
    cells += [f"{1000 * statistics.median(times):.1f}", f"{1000 * max(times):.1f}"]
    return ",".join([*cells, f"{before.failed.total() + loaded.failed.total()}"])


async def overload(client: Client, capacity: float, seconds: float) -> AsyncIterator[str]:
    """Rows of what parts and multiples of the capacity come to."""
    for factor in (0.5, 0.8, 1, 2, 10):
        lasting = SHORT if factor == 10 else seconds
        outcome = await opened(client, factor * capacity, lasting)
        yield outcome.row(f"{factor:g} C", lasting)
        told(outcome)
    outcome = await opened(client, 0.5 * capacity, seconds)
    yield outcome.row("0.5 C after", seconds)
    told(outcome)


def told(outcome: Outcome) -> None:
    if outcome.failed:
        print(outcome.causes)


async def measure(served: Served, args: argparse.Namespace) -> None:
    client = Client(served.port, args.picture.read_bytes())
    await client.learn()
    await closed(client, 1.0)
    if args.pairs:
        parts = [await twice(client, args.seconds) for _ in range(args.pairs)]
        print(f"part of the capacity: {', '.join(f'{part:.2f}' for part in sorted(parts))}")
        return
    capacity = await closed(client, args.seconds)
    if args.slow:
        async for line in slow(client, served.port, capacity / 2):
            print(line, flush=True)
        return
    print(f"capacity: {capacity:.0f} a second; {served.megabytes:.0f} MB\n{HEAD}")
    async for line in overload(client, capacity, args.seconds):
        print(line, flush=True)
    limit = limit_of(args.limit)
    print(f"{IDLE_HEAD}\n{await idle(served, client, 0.5 * capacity, limit, args.seconds)}")
    print(f"{served.megabytes:.0f} MB at the end")


def limit_of(limits: Sequence[str]) -> int:
    """How many connections these limits allow."""
    found = [each.partition("=")[2] for each in limits if each.startswith("connections=")]
    return int(found[0]) if found else 256


async def trickled(port: int, begin: bytes) -> float:
    """Send a byte a second, and return after how many seconds the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun = time.perf_counter()
    writer.write(begin)
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(b"x")
        await asyncio.wait([ended], timeout=1)
    writer.close()
    return time.perf_counter() - begun


async def slow(client: Client, port: int, rate: float) -> AsyncIterator[str]:
    """Rows of what slow clients cost others, and lines that say when they are ended."""
    yield HEAD
    yield (await opened(client, rate, 12)).row("0.5 C", 12)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
    kinds = {"heads": head + b"X: ", "bodies": head + b"Content-Length: 100000\r\n\r\n"}
    tasks = {
        kind: [asyncio.create_task(trickled(port, begin)) for _ in range(120)]
        for kind, begin in kinds.items()
    }
    yield (await opened(client, rate, 12)).row("with slow clients", 12)
    for kind, each in tasks.items():
        ends = sorted(await asyncio.gather(*each))
        yield f"{kind} ended after {ends[0]:.1f} to {ends[-1]:.1f} s"


async def twice(client: Client, seconds: float) -> float:
    """Print what 2 C comes to, and return the part of C that is answered in time."""
    before = await closed(client, seconds)
    outcome = await opened(client, 2 * before, seconds)
    capacity = (before + await closed(client, seconds)) / 2
    print(f"{capacity:.0f} a second; {outcome.row('2 C', seconds)}", flush=True)
    return outcome.in_time(seconds) / capacity


def probe(port: int) -> float:
    """Seconds that a health check takes, with its connection."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if not connection.recv(100).startswith(b"HTTP/1.1 200"):
            raise SystemExit("the health check was not answered")
    return time.perf_counter() - begun


def parser(about: str | None) -> argparse.ArgumentParser:
    """The flags that all measurements of the server have."""
    found = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("picture", type=Path)
    found.add_argument("--cores", default="0", help="of the server, as for taskset")
    found.add_argument("--clients", default="0", help="of the generator")
    found.add_argument("--model", type=Path, help="model.onnx (default: the bundled one)")
    return found


def pin(cores: str) -> None:
    """Keep this process, the generator, on these cores."""
    os.sched_setaffinity(0, set(map(int, cores.split(","))))


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--seconds", type=float, default=5.0, help="of each stretch")
    flags.add_argument("--limit", nargs="+", default=[], metavar="NAME=VALUE", help="of snn-serve")
    flags.add_argument("--slow", action="store_true", help="only slow clients")
    flags.add_argument("--pairs", type=int, default=0, help="only 2 C, so many times")
    args = flags.parse_args()
    with server(args.cores, args.model, args.limit) as served:
        pin(args.clients)
        asyncio.run(measure(served, args))


if __name__ == "__main__":
    main()
