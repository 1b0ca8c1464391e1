"""Answers that are posted to an address while nobody waits for it.

Each is one POST with a JSON object. Whoever labels only puts it into a queue: a receiver that is
slow or gone costs posts, and never a label.
"""

import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from snn_runtime.image.network import opener, reason_of

Outcome: TypeAlias = Literal["posted", "failed", "dropped"]
TIMEOUT = 5.0
"""Seconds that a receiver may be silent."""
WAITING = 64
"""Posts that wait; one more is dropped."""

_log = logging.getLogger(__name__)


class Webhook:
    """Posts to one address, from a thread of its own, one after the other."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        waiting: int = WAITING,
        count: Callable[[Outcome], object] = lambda outcome: None,
    ) -> None:
        """Reach for nothing yet; `count` is told what became of each post, in any thread."""
        self._url, self._timeout, self._count = url, timeout, count
        self._posts: queue.Queue[bytes | None] = queue.Queue(waiting)
        self._lost, self._losing = 0, threading.Lock()
        self._silent = False
        """Whether a failure has been told, and nothing has succeeded since."""
        self._opener = opener(_Stays())
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def post(self, record: Mapping[str, object]) -> None:
        """Post an object, or drop it where too many wait; return at once."""
        try:
            self._posts.put_nowait(json.dumps(record, allow_nan=False).encode())
        except queue.Full:
            self._miss("dropped", f"{self._posts.maxsize} posts are waiting already")

    def close(self, patience: float = 2 * TIMEOUT) -> int:
        """Wait for the posts that wait, no longer than `patience` seconds; how many were lost."""
        until = time.monotonic() + patience
        try:
            self._posts.put(None, timeout=patience)
            self._thread.join(max(0.0, until - time.monotonic()))
        except queue.Full:
            pass
        if self._thread.is_alive():  # with one post on its way, and others behind it
            self._miss("dropped", "there is no time left")
            while not self._posts.empty():
                if self._posts.get_nowait() is not None:
                    self._miss("dropped", "there is no time left")
            self._posts.put_nowait(None)
        return self._lost

    def _run(self) -> None:
        headers = {"content-type": "application/json", "user-agent": "iir-snn"}
        while (body := self._posts.get()) is not None:
            try:
                request = urllib.request.Request(self._url, body, headers)
                with self._opener.open(request, timeout=self._timeout):
                    pass
                self._count("posted")
                self._silent = False
            except urllib.error.HTTPError as error:
                error.close()
                self._miss("failed", f"the answer is {error.code} {error.reason}")
            except Exception as error:  # whatever it is, the next posts must not be lost
                self._miss("failed", reason_of(error))

    def _miss(self, outcome: Outcome, why: str) -> None:
        self._count(outcome)
        with self._losing:
            self._lost += 1
            told, self._silent = self._silent, True
        if not told:
            _log.error("--post %s: %s; the next failures are only counted", self._url, why)


class _Stays(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive as a GET without its body."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
