"""Every limit and deadline of the server, each with its default; `--limit NAME=VALUE` sets one."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from snn_runtime.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """What one client, and all together, may cost. Sizes in bytes, times in seconds."""

    batch: int = 16
    """Pictures that the engine is given at once."""
    batch_delay: float = 0.0
    """How long a picture waits for others while the engine is idle."""
    queue: int = 64
    """Pictures of one model between admission and answer; one more is refused with 503."""
    decoders: int = 2
    """Processes that decode pictures."""
    decode_memory: int = 2**30
    """Address space that a decoder may add to what it starts with."""
    decode_seconds: float = 5.0
    """For one picture, in its decoder."""
    max_bytes: int = 16 * 2**20
    """Body of a request."""
    max_pixels: int = 25_000_000
    """Width × height of a picture."""
    held_bytes: int = 128 * 2**20
    """Bodies of all requests together; one more byte is refused with 503."""
    header_bytes: int = 64 * 2**10
    """Head of a request."""
    header_seconds: float = 10.0
    """From a connection, or a first byte, to the end of the head."""
    body_seconds: float = 15.0
    """From the end of the head to the end of the body."""
    body_rate: int = 8 * 2**10
    """Bytes a second that a body has to keep to, after two seconds."""
    answer_seconds: float = 10.0
    """From the end of the body to the answer; what takes longer is answered with 504."""
    send_seconds: float = 30.0
    """For which a client may leave its answer unread."""
    keep_alive: int = 65
    """For which a connection stays open between two requests."""
    client_rate: float = 0.0
    """Requests a second of one client; more are refused with 429. 0: as many as it likes."""
    client_burst: int = 20
    """Requests that a client which was quiet may send at once."""
    camera_rate: float = 10.0
    """Answers a second to the server's own camera, at most."""
    connections: int = 256
    """Open at once. One more closes the longest idle one, or is refused."""
    grace_seconds: float = 2.0
    """From SIGTERM, when the server says that it is not ready, until it stops to listen."""
    drain_seconds: int = 25
    """After that, for requests that have begun."""


ZERO_IS_MEANT = {"batch_delay", "client_rate", "grace_seconds"}


def with_limits(texts: Iterable[str]) -> Limits:
    """Return the limits that `NAME=VALUE` texts ask for.

    Raises:
        UsageError: `bad_limit`: there is no such limit, or it cannot have this value.
    """
    defaults = {each.name: each.default for each in fields(Limits)}
    chosen: dict[str, int | float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in defaults or not equals:
            raise UsageError(
                "bad_limit",
                f"--limit {text}: expected NAME=VALUE, NAME one of {', '.join(defaults)}",
            )
        if name in chosen:
            raise UsageError("bad_limit", f"--limit {text}: {name} has a value already")
        kind = int if isinstance(defaults[name], int) else float
        try:
            number = kind(value)
            if not (0 < number < 2**40 or (number == 0 and name in ZERO_IS_MEANT)):
                raise ValueError
        except ValueError as error:
            what = "a whole number" if kind is int else "a number"
            least = "from 0" if name in ZERO_IS_MEANT else "above 0"
            raise UsageError("bad_limit", f"--limit {text}: expected {what} {least}") from error
        chosen[name] = number
    limits = replace(Limits(), **chosen)  # type: ignore[arg-type]  # each of the kind of its default
    if limits.queue < limits.batch:
        raise UsageError(
            "bad_limit",
            f"--limit queue={limits.queue} is less than batch, {limits.batch}: a batch would never "
            "be full",
        )
    if "client_burst" in chosen and not limits.client_rate:
        raise UsageError("bad_limit", "--limit client_burst is for client_rate, and there is none")
    return limits
