"""How often one client may ask: a bucket of requests that fills at a steady rate."""

import ipaddress
import math
import time
from collections.abc import Callable, Iterable

from snn_serve.limits import Limits
from snn_serve.refusal import Refusal

CLIENTS = 10_000
"""Clients that are remembered. The one that was heard longest ago makes room for another."""


class Rates:
    """Every client's bucket, kept as the time at which it will be full again.

    A request moves that time on by 1/rate. It may not lie more than burst/rate ahead.
    """

    def __init__(
        self,
        limits: Limits,
        proxies: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._burst = limits.client_rate, limits.client_burst
        self._proxies, self._clock = frozenset(proxies), clock
        self._full_at: dict[str, float] = {}

    def check(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Count a request of a client, whose address is the peer's or what a proxy says.

        Raises:
            Refusal: 429.
        """
        if not self._rate:
            return
        client = _network(_forwarded(peer, headers) if peer in self._proxies else peer)
        now = self._clock()
        full_at = max(now, self._full_at.pop(client, now)) + 1 / self._rate
        wait = full_at - now - self._burst / self._rate
        if wait > 1e-9:
            self._full_at[client] = full_at - 1 / self._rate  # what is refused does not count
            seconds = math.ceil(wait)
            raise Refusal(429, "too_often", "too many requests of one client", again=seconds)
        self._full_at[client] = full_at
        if len(self._full_at) > CLIENTS:
            del self._full_at[next(iter(self._full_at))]


def _forwarded(peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The last address of X-Forwarded-For: the proxy has seen it, and the client wrote the rest."""
    told = [value for name, value in headers if name == b"x-forwarded-for"]
    last = told[-1].decode("latin-1").rpartition(",")[2].strip() if told else ""
    return last or peer


def _network(address: str) -> str:
    """An IPv6 client has a whole network of addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
