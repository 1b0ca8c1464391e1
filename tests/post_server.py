"""A receiver of posts: what it was sent, and what it does about it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 60.0
"""Seconds after which a post that was to come counts as missing."""


class Receiver(ThreadingHTTPServer):
    """Answers each post with what `answer` returns, a status, and keeps the bodies."""

    daemon_threads = True
    posts: list[dict[str, Any]]
    answer: Callable[[], int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        until = time.monotonic() + PATIENCE
        while len(self.posts) < count:
            assert time.monotonic() < until, self.posts
            time.sleep(0.01)
        return self.posts


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/hook" and self.headers["content-type"] == "application/json"
        self.server.posts.append(json.loads(body))
        status = self.server.answer()
        self.send_response(status)
        if status // 100 == 3:
            self.send_header("location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        raise AssertionError("a redirect was followed")

    def log_message(self, *_: object) -> None:
        """Nothing: the test looks at posts."""


def slowly() -> int:
    """An answer of a receiver that is well, and slower than pictures are labelled."""
    time.sleep(0.01)
    return 204


@contextmanager
def receiving(answer: Callable[[], int] = lambda: 204) -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    with Receiver(("127.0.0.1", 0), _Post) as server:
        server.posts, server.answer = [], answer
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
