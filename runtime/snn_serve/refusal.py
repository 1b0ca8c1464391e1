"""Refusals over HTTP: a status, a code for machines, one sentence for people.

400 malformed   401 token   403 host, origin   404 no such thing   405 method   408 slow body
413 size        415 encoding   422 no usable picture   429 too often   500 a bug   503 busy, later
504 deadline
"""

from snn_runtime.errors import BusyError, DeviceError, InputError, ResourceError, SnnError


class Refusal(Exception):
    """What a client is told instead of an answer. It names no path and nothing of our insides."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        close: bool = False,
        again: int = 1,
        allowed: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.close = close
        """Whether the connection goes with it, as where a body is left unread."""
        self.again = again
        """Seconds after which it makes sense to try again, of 429, 503 and 504."""
        self.allowed = allowed
        """The methods that a path has, of 405."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the status."""
        again = {"retry-after": str(self.again)}
        token, allowed = {"www-authenticate": "Bearer"}, {"allow": self.allowed}
        found = {401: token, 405: allowed, 429: again, 503: again, 504: again}
        return found.get(self.status, {}) | ({"connection": "close"} if self.close else {})


def bad_request(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


def refusal_of(error: SnnError) -> Refusal:
    """Return what a client is told of an error: of its own picture all, of ours only the kind."""
    if isinstance(error, InputError):
        status = 413 if error.code == "too_many_bytes" else 422
        return Refusal(status, error.code, f"the picture {error.message}")
    if isinstance(error, BusyError | ResourceError | DeviceError):
        return Refusal(503, "unavailable", "the server lacks memory or a device: try again later")
    return Refusal(500, "internal", "internal error; the server's log has more under this id")
