"""snn-serve for a long time: pictures at a steady rate, and requests that are none.

    cd runtime && python -m benchmarks.soak photos/cat.jpg --seconds 600

Prints memory, descriptors and threads of the server every minute, and in the end what became of
every request: each failure with its cause.
"""

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path

from benchmarks.generator import Client, Outcome
from benchmarks.servers import resident, server

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
BAD = {
    "text for a picture": HEAD % 9 + b"a picture",
    "half of a body": HEAD % 9000 + b"x" * 100,
    "half of a head": HEAD[:40],
    "an unknown path": b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a name of others": b"GET /v2 HTTP/1.1\r\nHost: attacker.example\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no HTTP": b"hello\r\n\r\n",
    "JSON that is none": HEAD % 2 + b"{]",
}


async def bad(port: int, name: str, answers: Counter[str]) -> None:
    """Send what is no request for a picture, and count its answer by its status."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(BAD[name])
        if name.startswith("half"):
            await asyncio.sleep(1)
            writer.transport.abort()
            answers[f"{name}: left"] += 1
            return
        line = await asyncio.wait_for(reader.readline(), 30)
        answers[f"{name}: {line.decode('latin-1').strip() or 'closed'}"] += 1
        writer.close()
    except (OSError, asyncio.TimeoutError) as error:
        answers[f"{name}: {error!r}"] += 1


def state(process: int) -> str:
    place = Path(f"/proc/{process}")
    descriptors = len(list((place / "fd").iterdir()))
    threads = len(list((place / "task").iterdir()))
    return f"{resident(process):.1f} MB, {descriptors} descriptors, {threads} threads"


async def soak(port: int, process: int, args: argparse.Namespace) -> None:
    client = Client(port, args.picture.read_bytes())
    await client.learn()
    chance, outcome, answers = random.Random(0), Outcome(), Counter[str]()
    tasks = set[asyncio.Task[None]]()
    begun = due = told = time.perf_counter()
    while (due := due + chance.expovariate(args.rate)) < begun + args.seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if due - told > 60:
            told = due
            print(f"{due - begun:.0f} s: {state(process)}", flush=True)
        if chance.random() < 0.1:
            task = asyncio.create_task(bad(port, chance.choice(list(BAD)), answers))
        else:
            outcome.due += 1
            task = asyncio.create_task(client.count(outcome, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    print(f"{state(process)} at the end\n{outcome.due} pictures: {outcome.told()}")
    print(*(f"{count} x {what}" for what, count in sorted(answers.items())), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--cores", default="0", help="of the server, as for taskset")
    parser.add_argument("--clients", default="0", help="of the generator")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second")
    args = parser.parse_args()
    with server(args.cores) as served:
        os.sched_setaffinity(0, set(map(int, args.clients.split(","))))
        asyncio.run(soak(served.port, served.process.pid, args))


if __name__ == "__main__":
    main()
