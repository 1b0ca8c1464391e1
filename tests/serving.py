"""A real snn-serve in a process of its own, and a client of few lines."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "runtime" / "photos"
CAT = PHOTOS / "cat.jpg"
MAIN = "import sys; from snn_serve.cli import main; sys.exit(main())"
PATHS = os.pathsep.join(str(ROOT / part) for part in ("train", "export", "runtime"))
PATIENCE = 60.0
"""Seconds after which something that was to come counts as missing."""


class Running:
    """A server that listens, and what it has said."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, said: list[str]) -> None:
        self.process = process
        self.url = url
        self.said = said
        self.port = int(url.rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        **more: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case and body of one answer, over a connection of its own."""
        connection = self.connect()
        try:
            connection.request("GET" if body is None else "POST", path, body, headers or {})
            answer = connection.getresponse()
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    def json(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        """The JSON of an answer, whatever its status."""
        return json.loads(self.ask(path, body, headers)[2])

    def metric(self, name: str) -> float:
        """One figure of /metrics, by its name with its labels."""
        text = self.ask("/metrics")[2].decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    def wait_for(self, name: str, value: float) -> None:
        """Wait until a figure of /metrics has a value."""
        until = time.monotonic() + PATIENCE
        while (found := self.metric(name)) != value:
            assert time.monotonic() < until, (name, found)

    def until(self, words: str) -> None:
        """Wait until the server says something."""
        assert self.process.stderr is not None
        while not any(words in line for line in self.said):
            line = self.process.stderr.readline()
            assert line, f"the server ended without {words!r}: {self.said}"
            self.said.append(line)

    def rest(self) -> list[str]:
        """All lines of a server that has ended."""
        assert self.process.stderr is not None
        self.said += self.process.stderr
        return self.said

    def decoders(self) -> list[int]:
        """Process ids of the children that the main thread started."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in listed.split()]

    def children(self) -> set[str]:
        """Process ids of all."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return {child for thread in threads for child in thread.read_text().split()}

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def running(*arguments: object, **limits: float) -> Iterator[Running]:
    """Run `snn-serve` with these limits on a free port until the block ends, with one decoder."""
    chosen = [
        f"{name}={value}" for name, value in {"grace_seconds": 0, "decoders": 1, **limits}.items()
    ]
    words = ["--port=0", "--threads=1", *map(str, arguments), "--limit", *chosen]
    with started(words) as server:
        yield server


@contextmanager
def started(words: Sequence[str], *before: str, main: str = MAIN) -> Iterator[Running]:
    """Run `snn-serve` with these words until the block ends, by a command that stands `before`."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", main, *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": PATHS},
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"listening on (\S+)", line):
                break
        else:
            raise AssertionError(f"the server did not start: {said}")
        yield Running(process, found[1], said)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
