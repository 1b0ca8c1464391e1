"""snn-serve under load, by an open-loop generator: arrivals do not wait for answers.

    python runtime/benchmarks/load.py picture.jpg --cores 1 --clients 0

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
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

MAIN = "import sys; from snn_serve.cli import main; sys.exit(main())"
CLOSED = 32
"""Clients of the closed loop that finds the capacity."""
SHORT = 2.0
"""Seconds of the burst of 10 C."""


@dataclass
class Outcome:
    """What became of the requests of one stretch."""

    due: int = 0
    good: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: int = 0
    different: int = 0

    def row(self, name: str, seconds: float) -> str:
        cells = [
            f"{self.due / seconds:.0f}",
            f"{len(self.good) / seconds:.0f}",
            milliseconds(self.good, 50),
            milliseconds(self.good, 99),
            f"{len(self.refused) / seconds:.0f}",
            milliseconds(self.refused, 50),
            milliseconds(self.refused, 99),
            f"{self.failed}",
            f"{self.different}",
        ]
        return f"{name}," + ",".join(cells)


HEAD = (
    "load,offered a second,answered a second,median ms,99 % ms,refused a second,"
    "refused median ms,refused 99 % ms,failed,different answers"
)


def milliseconds(times: list[float], percent: int) -> str:
    if not times:
        return ""
    ordered = sorted(times)
    return f"{1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]:.1f}"


class Client:
    """Connections to one server, used again, as many as are needed."""

    def __init__(self, port: int, picture: bytes) -> None:
        self._port = port
        head = (
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n"
        )
        self._request = head.encode() + picture
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.expected: object = None

    async def ask(self) -> tuple[int, bytes]:
        """Status and body."""
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        if "connection: close" in head:
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(head.split()[1]), body

    async def count(self, outcome: Outcome, due: float) -> None:
        """Ask once, and write down what came of it."""
        try:
            status, body = await self.ask()
        except (OSError, asyncio.IncompleteReadError):
            outcome.failed += 1
            return
        taken = time.perf_counter() - due
        if status == 200:
            outcome.good.append(taken)
            outcome.different += json.loads(body)["predictions"] != self.expected
        elif status == 503:
            outcome.refused.append(taken)
        else:
            outcome.failed += 1


async def closed(client: Client, seconds: float) -> float:
    """Requests a second that are answered where each client waits."""
    outcome, end = Outcome(), time.perf_counter() + seconds

    async def one() -> None:
        while (now := time.perf_counter()) < end:
            await client.count(outcome, now)

    await asyncio.gather(*(one() for _ in range(CLOSED)))
    return len(outcome.good) / seconds


async def opened(client: Client, rate: float, seconds: float) -> Outcome:
    """A Poisson process of `rate` requests a second."""
    outcome, chance, tasks = Outcome(), random.Random(0), set()
    due = begun = time.perf_counter()
    while (due := due + chance.expovariate(rate)) < begun + seconds:
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        outcome.due += 1
        task = asyncio.create_task(client.count(outcome, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return outcome


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
    """Print what 2 C comes to, and return the part of C that is answered."""
    before = await closed(client, seconds)
    outcome = await opened(client, 2 * before, seconds)
    capacity = (before + await closed(client, seconds)) / 2
    print(f"{capacity:.0f} a second; {outcome.row('2 C', seconds)}", flush=True)
    return len(outcome.good) / seconds / capacity


def probe(port: int) -> float:
    """Seconds that a health check takes, with its connection."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if not connection.recv(100).startswith(b"HTTP/1.1 200"):
            raise SystemExit("the health check was not answered")
    return time.perf_counter() - begun


def resident(process: int) -> float:
    """Memory of a process without its decoders, MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--cores", default="0", help="of the server, as for taskset")
    parser.add_argument("--clients", default="0", help="of the generator")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each stretch")
    parser.add_argument("--slow", action="store_true", help="only slow clients")
    parser.add_argument("--pairs", type=int, default=0, help="only 2 C, so many times")
    args = parser.parse_args()
    words = ["taskset", "-c", args.cores, sys.executable, "-c", MAIN, "--port", "0"]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        said = next(line for line in server.stderr if "listening on" in line)
        os.sched_setaffinity(0, set(map(int, args.clients.split(","))))
        asyncio.run(measure(int(said.rpartition(":")[2]), server.pid, args))
    finally:
        server.terminate()
        print(f"exit code {server.wait()}")


if __name__ == "__main__":
    main()
