"""The running server: its socket, its signals, how it begins and how it ends."""

import asyncio
import functools
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from snn_runtime.errors import ResourceError, UsageError
from snn_runtime.model import Model
from snn_runtime.video.latest import Latest
from snn_serve.admission import Admission
from snn_serve.bodies import Bodies
from snn_serve.connections import Connection, Connections
from snn_serve.decoders import Decoders
from snn_serve.gate import Access, Gate
from snn_serve.hangup import Hangup
from snn_serve.hook import Hook, Subscription
from snn_serve.limits import Limits
from snn_serve.listening import BACKLOG, Server
from snn_serve.metrics import Metrics
from snn_serve.models import Models, Source
from snn_serve.rates import Rates
from snn_serve.routes import Routes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a server listens, and how."""

    host: str
    port: int
    """0: any that is free."""
    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    proxies: tuple[str, ...] = ()
    """Addresses whose X-Forwarded-For is believed."""
    hosts: frozenset[str] = frozenset()
    """Names of proxies, see `Access`."""

    @property
    def scheme(self) -> str:
        return "http" if self.certificate is None else "https"

    def opened(self) -> socket.socket:
        """Return the listening socket.

        Raises:
            ResourceError: `cannot_listen`.
        """
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            opened = socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
            # Accepted connections inherit it. asyncio sets it only where a socket names its
            # protocol, and without it the body of an answer waits for the client's delayed ACK.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return opened
        except OSError as error:
            # socket adds "(while attempting to bind …", which repeats the address.
            reason = (error.strerror or str(error)).partition(" (while")[0]
            raise ResourceError(
                "cannot_listen", f"cannot listen on {self.host}, port {self.port}: {reason}"
            ) from error

    def check_tls(self) -> None:
        """Raises: UsageError: `bad_tls`: certificate and key cannot be used."""
        if self.certificate is not None:
            try:
                # An empty password, so that OpenSSL asks nobody for one.
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    self.certificate, self.key, password=""
                )
            except OSError as error:
                reason = error.strerror or str(error)
                if isinstance(error, ssl.SSLError):
                    reason = "expected PEM of a chain, and of its key without a password"
                    reason += f" ({error.reason})" if error.reason else ""
                given = f"--tls-cert {self.certificate}, --tls-key {self.key}"
                raise UsageError("bad_tls", f"{given}: {reason}") from error


def loaded(source: Source, subscription: Subscription | None) -> dict[str, Model]:
    """Return all models, each of which has proved itself.

    Raises:
        SnnError: as `Source.found` and `Source.loaded`.
        UsageError: `bad_flag`: none has the label that is to be posted.
    """
    models = {name: source.loaded(path) for name, path in source.found().items()}
    if subscription is not None:
        subscription.check(models.values())
    return models


def serve(
    source: Source,
    place: Place,
    limits: Limits,
    camera: Callable[[], Latest] | None = None,
    subscription: Subscription | None = None,
    hangup: Hangup | None = None,
) -> int:
    """Answer requests until a signal comes; return the exit code. A camera is for `/stream`. At a
    SIGHUP that has come before there is a server, the models are read again."""
    place.check_tls()
    models = loaded(source, subscription)
    listener = place.opened()
    with listener:
        running = _Running(source, place, limits, camera, subscription)
        return asyncio.run(running.run(listener, models, hangup))


class _Running:
    def __init__(
        self,
        source: Source,
        place: Place,
        limits: Limits,
        camera: Callable[[], Latest] | None,
        subscription: Subscription | None,
    ) -> None:
        self._place, self._limits = place, limits
        self._metrics = Metrics()
        self._models = Models(source, limits, self._metrics, subscription)
        self._decoders = Decoders(limits, self._metrics)
        bodies = Bodies(limits, self._metrics)
        self._hook = None if subscription is None else Hook(subscription, self._metrics)
        self._routes = Routes(
            limits,
            self._models,
            self._decoders,
            bodies,
            self._metrics,
            tell=self._hook,
            camera=camera,
        )
        rates = Rates(limits, place.proxies)
        admission = Admission(bodies, self._models, rates, self._metrics)
        self._connections = Connections(limits, admission, lambda: self._routes.leaving)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(
        self, listener: socket.socket, models: dict[str, Model], hangup: Hangup | None
    ) -> int:
        self._models.add(models.items())
        await self._decoders.start()
        self._server = Server(self._config())
        self._listen_to_signals()
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        for name, model in models.items():
            _log.info("model %s (%s)", name, model.engine)
        _log.info("listening on %s://%s:%d", self._place.scheme, shown, port)
        if hangup is not None and hangup.came:
            self._begin(self._models.reload)
        await self._server.serve([listener])
        await self._models.close()
        await self._decoders.close()
        if self._hook is not None:
            await asyncio.to_thread(self._hook.close)
        _log.info("ended")
        return 0

    def _config(self) -> uvicorn.Config:
        access = Access(self._place.token, self._place.hosts)
        app = Gate(self._routes.router(), access, self._metrics, self._connections.leaving)
        protocol: Any = functools.partial(Connection, self._connections)
        certificate, key = self._place.certificate, self._place.key
        return uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=self._limits.keep_alive,
            timeout_graceful_shutdown=self._limits.drain_seconds,
            ssl_certfile=None if certificate is None else str(certificate),
            ssl_keyfile=None if key is None else str(key),
        )

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave, number)
        loop.add_signal_handler(signal.SIGHUP, self._begin, self._models.reload)

    def _begin(self, work: Callable[[], Any]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leave(self, number: int) -> None:
        """At the first signal be unready, answer what has begun, and end; at the second end now."""
        if self._routes.leaving:
            self._decoders.end()
            os._exit(128 + number)
        self._routes.leaving = True
        self._routes.stream.close()
        _log.info("draining")
        self._begin(self._stop)

    async def _stop(self) -> None:
        await asyncio.sleep(self._limits.grace_seconds)
        self._server.should_exit = True
