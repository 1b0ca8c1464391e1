"""What is decided at the head of a request, before any of its body is read.

A refusal here costs a small part of an answer, so that under overload the engine keeps its time.
Nothing is held for a head, since its body may never come: what passes may find the queue full when
its body is there.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from http import HTTPStatus

from snn_serve.bodies import Bodies, number_of
from snn_serve.gate import PUBLIC, SAFE, error_response, request_id_of, route_of
from snn_serve.metrics import Metrics
from snn_serve.models import Models
from snn_serve.rates import Rates
from snn_serve.refusal import Refusal, bad_request

FULL = Refusal(503, "busy", "no connection is free: try again in a second")
NO_HTTP = bad_request("this is no request of HTTP/1.1")

_INFER = re.compile(r"/v2/models/([a-z0-9_-]+)(?:/versions/1)?/infer")
_END = b"\r\n\r\n"
_MODEL = re.compile(r"(?:.*&)?model=([a-z0-9_-]+)(?:&.*)?")


class Admission:
    """Refuses what can be refused by its head alone."""

    def __init__(self, bodies: Bodies, models: Models, rates: Rates, metrics: Metrics) -> None:
        self._bodies, self._models, self._rates = bodies, models, rates
        self._metrics = metrics

    def refusal(
        self,
        peer: str,
        method: bytes,
        target: str,
        given: Sequence[tuple[bytes, bytes]],
        keep: bool,
    ) -> bytes | None:
        """Return the whole answer to a request that is refused, and count it; else None.

        Args:
            peer: the address of the connection.
            method: in capitals.
            target: path and query.
            given: the headers, names in lower case.
            keep: whether the connection is kept.
        """
        path, _, query = target.partition("?")
        try:
            if not PUBLIC.fullmatch(path):
                self._rates.check(peer, given)
            self._check_room(path, query, given)
            return None
        except Refusal as refusal:
            self._metrics.answered(route_of(path), refusal.status, 0.0)
            named = next((value for name, value in given if name == b"x-request-id"), b"")
            answer = written(refusal, keep, named.decode("latin-1"))
            if method == b"HEAD":  # the client takes what follows the head for its next answer
                return answer[: answer.index(_END) + len(_END)]
            return answer

    def _check_room(self, path: str, query: str, given: Sequence[tuple[bytes, bytes]]) -> None:
        """Raises: Refusal: 503: the queue of the model that is meant is full, or memory is."""
        if path == "/predict":
            found = _MODEL.fullmatch(query)
        elif not (found := _INFER.fullmatch(path)):
            return
        self._models.check_room(found[1] if found else None)
        length = next((value for name, value in given if name == b"content-length"), b"0")
        self._bodies.check_room(number_of(length.decode("latin-1")) or 0)


def written(refusal: Refusal, keep: bool, given: str = "") -> bytes:
    """The bytes of an answer, `given` the client's id for its request. Of thousands a second all
    but the id are the same."""
    request_id = request_id_of(given)
    about = (refusal.status, refusal.code, refusal.message, not keep, refusal.again)
    return _template(*about, len(request_id)).replace(_blank(len(request_id)), request_id.encode())


@cache
def _blank(length: int) -> bytes:
    """What no answer and no id has."""
    return b"@" * length


@lru_cache(100)
def _template(status: int, code: str, message: str, close: bool, again: int, length: int) -> bytes:
    """An answer with a blank of this length for its id."""
    refusal, blank = Refusal(status, code, message, close=close, again=again), _blank(length)
    answer = error_response(refusal, blank.decode())
    headers = [*answer.raw_headers, *SAFE, (b"x-request-id", blank)]
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
