"""An open-loop generator of requests: arrivals do not wait for answers. And a closed loop, whose
clients each wait for theirs."""

import asyncio
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What became of the requests of one stretch."""

    due: int = 0
    good: list[float] = field(default_factory=list)
    """Seconds from when a request was due to its answer."""
    when: list[float] = field(default_factory=list)
    """When each of the good ones was due, and of the refused ones below."""
    refused: list[float] = field(default_factory=list)
    refused_when: list[float] = field(default_factory=list)
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
        return f"{name}," + ",".join(cells)

    @property
    def causes(self) -> str:
        return ", ".join(f"{count} x {cause}" for cause, count in self.failed.items())

    def told(self) -> str:
        causes = f": {self.causes}" if self.failed else ""
        return (
            f"{len(self.good)} answered, {len(self.refused)} refused, {self.different} different, "
            f"{self.again} asked again, {self.failed.total()} failed{causes}"
        )

    def in_time(self, seconds: float) -> float:
        """Answers a second that came before the stretch was over."""
        return (len(self.good) - self.waiting) / seconds


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

    def __init__(self, port: int, picture: bytes, *, patient: bool = True) -> None:
        """With patience a request is sent again where a used connection has ended before it."""
        self._port, self._patient = port, patient
        head = (
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n"
        )
        self._request = head.encode() + picture
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.expected: object = None

    async def learn(self) -> None:
        """Ask alone, and expect this answer from now on."""
        status, body = await self.ask()
        if status != 200:
            raise SystemExit(f"the picture alone is answered with {status}")
        self.expected = json.loads(body)["predictions"]

    async def ask(self, outcome: Outcome | None = None) -> tuple[int, bytes]:
        """Status and body. A connection that was used before may have been closed meanwhile; then
        a new one is used, as HTTP clients do."""
        while self._free:
            reader, writer = self._free.pop()
            if reader.at_eof():
                writer.close()
                continue
            try:
                return await self._ask_over(reader, writer)
            except asyncio.IncompleteReadError as error:
                if error.partial or not self._patient:
                    raise
            except ConnectionError:
                if not self._patient:
                    raise
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
            outcome.when.append(due)
            outcome.different += json.loads(body)["predictions"] != self.expected
        elif status == 503:
            outcome.refused.append(taken)
            outcome.refused_when.append(due)
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


async def closed(client: Client, seconds: float, clients: int = 32) -> float:
    """Requests a second that are answered where each client waits. By default so many wait that
    this is the capacity."""
    outcome, begun = Outcome(), time.perf_counter()

    async def one() -> None:
        while (now := time.perf_counter()) < begun + seconds:
            await client.count(outcome, now)

    await asyncio.gather(*(one() for _ in range(clients)))
    if outcome.failed or outcome.different:
        raise SystemExit(f"the capacity cannot be found: {outcome.told()}")
    return len(outcome.good) / (time.perf_counter() - begun)
