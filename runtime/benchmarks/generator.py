"""An open-loop generator of requests to snn-serve: arrivals do not wait for answers."""

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MAIN = "import sys; from snn_serve.cli import main; sys.exit(main())"


@dataclass
class Outcome:
    """What became of the requests of one stretch."""

    due: int = 0
    good: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    """By their causes."""
    again: int = 0
    """Asked again, since the server had closed the connection between two requests."""
    different: int = 0
    waiting: int = 0
    """Good ones that were answered when the stretch was over."""

    def row(self, name: str, seconds: float) -> str:
        cells = [
            f"{self.due / seconds:.0f}",
            f"{len(self.good) / seconds:.0f}",
            milliseconds(self.good, 50),
            milliseconds(self.good, 99),
            f"{len(self.refused) / seconds:.0f}",
            milliseconds(self.refused, 50),
            milliseconds(self.refused, 99),
            f"{self.failed.total()}",
            f"{self.different}",
        ]
        causes = "".join(f"\n{count} x {cause}" for cause, count in self.failed.items())
        return f"{name}," + ",".join(cells) + causes

    def told(self) -> str:
        failed = "".join(f", {count} x {cause}" for cause, count in self.failed.items())
        return (
            f"{len(self.good)} answered, {len(self.refused)} refused, {self.different} different, "
            f"{self.failed.total()} failed{failed}; {self.again} asked again"
        )


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

    async def ask(self, outcome: Outcome | None = None) -> tuple[int, bytes]:
        """Status and body. A connection that was used before may have been closed meanwhile; then
        a new one is used, as HTTP clients do."""
        while self._free:
            reader, writer = self._free.pop()
            try:
                return await self._ask_over(reader, writer)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
            except ConnectionError:
                pass
            if outcome is not None:
                outcome.again += 1
        return await self._ask_over(*await asyncio.open_connection("127.0.0.1", self._port))

    async def _ask_over(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, bytes]:
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
            status, body = await self.ask(outcome)
        except (OSError, asyncio.IncompleteReadError) as error:
            outcome.failed[repr(error)] += 1
            return
        taken = time.perf_counter() - due
        if status == 200:
            outcome.good.append(taken)
            outcome.different += json.loads(body)["predictions"] != self.expected
        elif status == 503:
            outcome.refused.append(taken)
        else:
            outcome.failed[f"{status} {json.loads(body)['code']}"] += 1


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
    in_time = len(outcome.good)
    await asyncio.gather(*tasks)
    outcome.waiting = len(outcome.good) - in_time
    return outcome


def resident(process: int) -> float:
    """Memory of a process without its decoders, MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


@contextmanager
def server(cores: str, model: Path | None = None) -> Iterator[tuple[int, int]]:
    """Run a server on these cores; yields its port and its process id."""
    words = ["taskset", "-c", cores, sys.executable, "-c", MAIN, "--port", "0"]
    chosen = [] if model is None else ["--model", str(model)]
    server = subprocess.Popen([*words, *chosen], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        said = next(line for line in server.stderr if "listening on" in line)
        yield int(said.rpartition(":")[2]), server.pid
    finally:
        server.terminate()
        print(*server.stderr, f"exit code {server.wait()}", sep="")
