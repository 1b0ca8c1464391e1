"""snn-serve under load.

    cd runtime && python -m benchmarks.load photos/cat.jpg --cores 1 --clients 0

Starts a server, finds its capacity C with 32 clients that each wait for their answer, then offers
0.5, 0.8, 1, 2 and 10 C as a Poisson process. Latency counts from the moment that a request was due.
Every answer is compared with the answer alone. Beside it, 1,000 connections that say nothing.

With `--slow` 120 clients send a byte a second of a head, 120 of a body, while C/2 is offered.
With `--pairs N` only twice the capacity is measured, N times, each between two measures of C: on a
machine whose speed changes, the ratio says more than each alone.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import time
from pathlib import Path

from benchmarks.generator import HEAD, Client, Outcome, opened, resident, server

CLOSED = 32
"""Clients of the closed loop that finds the capacity."""
SHORT = 2.0
"""Seconds of the burst of 10 C."""


async def closed(client: Client, seconds: float) -> float:
    """Requests a second that are answered where each client waits."""
    outcome, end = Outcome(), time.perf_counter() + seconds

    async def one() -> None:
        while (now := time.perf_counter()) < end:
            await client.count(outcome, now)

    await asyncio.gather(*(one() for _ in range(CLOSED)))
    return len(outcome.good) / seconds


async def idle(port: int, count: int) -> str:
    """The median and longest time of a health check while `count` connections say nothing."""
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    times = [await asyncio.to_thread(probe, port) for _ in range(50)]
    for _, writer in pairs:
        writer.close()
    return f"{1000 * statistics.median(times):.1f} ms, at most {1000 * max(times):.1f} ms"


async def measure(port: int, process: int, args: argparse.Namespace) -> None:
    client = Client(port, args.picture.read_bytes())
    client.expected = json.loads((await client.ask())[1])["predictions"]
    await closed(client, 1.0)
    if args.pairs:
        parts = [await twice(client, args.seconds) for _ in range(args.pairs)]
        print(f"part of the capacity: {', '.join(f'{part:.2f}' for part in sorted(parts))}")
        return
    capacity = await closed(client, args.seconds)
    if args.slow:
        await slow(client, port, capacity / 2)
        return
    print(f"capacity: {capacity:.0f} a second; {resident(process):.0f} MB\n{HEAD}")
    for factor in (0.5, 0.8, 1, 2, 10):
        seconds = SHORT if factor == 10 else args.seconds
        outcome = await opened(client, factor * capacity, seconds)
        print(outcome.row(f"{factor:g} C", seconds), flush=True)
    print((await opened(client, 0.5 * capacity, args.seconds)).row("0.5 C after", args.seconds))

    print(f"with 1,000 idle connections: {await idle(port, 1000)}")
    print(f"{resident(process):.0f} MB at the end")


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


async def slow(client: Client, port: int, rate: float) -> None:
    """Print what slow clients cost others, and when they are ended."""
    print(HEAD)
    print((await opened(client, rate, 12)).row("0.5 C", 12), flush=True)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
    kinds = {"heads": head + b"X: ", "bodies": head + b"Content-Length: 100000\r\n\r\n"}
    tasks = {
        kind: [asyncio.create_task(trickled(port, begin)) for _ in range(120)]
        for kind, begin in kinds.items()
    }
    print((await opened(client, rate, 12)).row("with slow clients", 12), flush=True)
    for kind, each in tasks.items():
        ends = sorted(await asyncio.gather(*each))
        print(f"{kind} ended after {ends[0]:.1f} to {ends[-1]:.1f} s")


async def twice(client: Client, seconds: float) -> float:
    """Print what 2 C comes to, and return the part of C that is answered in time."""
    before = await closed(client, seconds)
    outcome = await opened(client, 2 * before, seconds)
    capacity = (before + await closed(client, seconds)) / 2
    print(f"{capacity:.0f} a second; {outcome.row('2 C', seconds)}", flush=True)
    return (len(outcome.good) - outcome.waiting) / seconds / capacity


def probe(port: int) -> float:
    """Seconds that a health check takes, with its connection."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if not connection.recv(100).startswith(b"HTTP/1.1 200"):
            raise SystemExit("the health check was not answered")
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--cores", default="0", help="of the server, as for taskset")
    parser.add_argument("--clients", default="0", help="of the generator")
    parser.add_argument("--model", type=Path, help="model.onnx (default: the bundled one)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each stretch")
    parser.add_argument("--slow", action="store_true", help="only slow clients")
    parser.add_argument("--pairs", type=int, default=0, help="only 2 C, so many times")
    args = parser.parse_args()
    with server(args.cores, args.model) as (port, process):
        os.sched_setaffinity(0, set(map(int, args.clients.split(","))))
        asyncio.run(measure(port, process, args))


if __name__ == "__main__":
    main()
