"""Answers that are posted to an address, beside the work.

Each is one POST with a JSON object. Whoever labels only puts it into a queue. A receiver that is
slow or gone costs posts, and never a label: nobody waits for it, but where `patience` says so, and
then only as long as posts succeed.
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

from snn_runtime.addresses import opener, reason_of

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
        patience: float = 0.0,
        count: Callable[[Outcome], object] = lambda outcome: None,
        tell: Callable[[str], object] = _log.error,
    ) -> None:
        """Reach for nothing yet.

        Args:
            timeout: seconds that the receiver may be silent.
            waiting: posts that wait at most.
            patience: seconds that a post may wait for a place among them.
            count: is told what became of each post, in any thread.
            tell: is told the first failure, and the first after a success.
        """
        self._url, self._timeout, self._count = url, timeout, count
        self._posts: queue.Queue[bytes | None] = queue.Queue(waiting)
        self._patience, self._tell = patience, tell
        self._lost, self._losing = 0, threading.Lock()
        self._silent = False
        """Whether a failure has been told, and nothing has succeeded since."""
        self._opener = opener(_Stays())
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def post(self, record: Mapping[str, object]) -> None:
        """Post an object, or drop it where too many wait, for too long or for one that fails."""
        waits = self._patience > 0 and not self._silent
        try:
            self._posts.put(
                json.dumps(record, allow_nan=False).encode(), waits, self._patience or None
            )
        except queue.Full:
            self._miss("dropped", f"{self._posts.maxsize} posts are waiting already")

    def close(self, patience: float = 2 * TIMEOUT) -> int:
        """Wait for the posts that wait, no longer than `patience` seconds, or than that for each
        where posts themselves wait; how many were lost."""
        until = time.monotonic() + patience
        try:
            self._posts.put(None, timeout=patience)
            self._thread.join(max(0.0, until - time.monotonic()))
            left = -1
            while self._patience and not self._silent and self._posts.qsize() != left:
                left = self._posts.qsize()
                self._thread.join(patience)
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
            self._tell(f"--post {self._url}: {why}; the next failures are only counted")


class _Stays(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive as a GET without its body."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
