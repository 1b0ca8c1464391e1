"""snn-serve beside the same network behind a plain handler: requests a second, and their ratio.

    cd runtime && python -m benchmarks.beside photos/cat.jpg --cores 0 --clients 1

All servers run at once on the same core, and one after the other is asked, in rounds, by 1, 8 and
32 clients that each wait for their answer. Ratios are of the two rates of one round. All have to
answer alike. `handler` is `benchmarks.handler`; snn-serve also runs on ONNX Runtime, so that its
engine and the rest can be told apart. Needs: pip install fastapi uvloop
"""

import argparse
import asyncio
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from benchmarks.generator import Client, closed
from benchmarks.load import parser, pin
from benchmarks.pictures import draw_rates
from benchmarks.servers import Served, listening, server

CLIENTS = (1, 8, 32)
OURS, HANDLER = "snn-serve", "FastAPI + ONNX Runtime"
Rates: TypeAlias = dict[tuple[int, str], list[float]]
"""Requests a second of each round, by the number of clients and the server."""
HEAD = (
    "clients,server,a second,least,most,snn-serve's rate / this one,least ratio,most ratio,"
    "MB with all"
)


@contextmanager
def contenders(cores: str, model: Path | None) -> Iterator[dict[str, Served]]:
    words = ["-m", "benchmarks.handler", *([] if model is None else [str(model)])]
    ort = ["--backend", "onnxruntime"]
    with (
        server(cores, model) as ours,
        server(cores, model, [], *ort) as other,
        listening(cores, words) as handler,
    ):
        yield {OURS: ours, f"{OURS} on ONNX Runtime": other, HANDLER: handler}


async def race(
    servers: dict[str, Served], picture: bytes, rounds: int, seconds: float
) -> tuple[Rates, dict[str, float]]:
    """Rates, and the memory of each at the end."""
    clients = {name: Client(served.port, picture) for name, served in servers.items()}
    for client in clients.values():
        await client.learn()
        await closed(client, 1.0)
    (first, *others) = (client.expected for client in clients.values())
    if any(each != first for each in others):
        raise SystemExit("the servers do not answer alike")
    rates: Rates = {}
    for number in range(rounds):
        for count in CLIENTS:
            # The other way round each time, so that none is always first.
            for name, client in list(clients.items())[:: 1 if number % 2 else -1]:
                rate = await closed(client, seconds, count)
                rates.setdefault((count, name), []).append(rate)
    return rates, {name: served.megabytes for name, served in servers.items()}


def rows(rates: Rates, memory: dict[str, float]) -> Iterator[str]:
    for (count, name), each in sorted(rates.items(), key=lambda item: item[0][0]):
        ratios = [ours / other for ours, other in zip(rates[count, OURS], each, strict=True)]
        cells = [f"{f(each):.0f}" for f in (statistics.median, min, max)]
        cells += [f"{f(ratios):.2f}" for f in (statistics.median, min, max)]
        yield ",".join([f"{count}", name, *cells, f"{memory[name]:.0f}"])


def check() -> None:
    """Say in one line what is missing."""
    if find_spec("fastapi") is None:
        raise SystemExit("the handler to compare with needs FastAPI: pip install fastapi uvloop")


def measure(args: argparse.Namespace) -> tuple[Rates, list[str]]:
    """Rates, and the table."""
    with contenders(args.cores, args.model) as servers:
        picture = args.picture.read_bytes()
        rates, memory = asyncio.run(race(servers, picture, args.rounds, args.lasting))
    return rates, [HEAD, *rows(rates, memory)]


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--lasting", type=float, default=1.5, help="seconds of each turn")
    flags.add_argument("--plot", type=Path, help="a picture, as PNG")
    args = flags.parse_args()
    check()
    pin(args.clients)
    rates, table = measure(args)
    print(*table, sep="\n")
    if args.plot:
        draw_rates(rates, args.plot)


if __name__ == "__main__":
    main()
