"""What every request passes: who may ask, how it is counted, and what an error says."""

import hmac
import ipaddress
import json
import logging
import re
import secrets
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snn_runtime.errors import SnnError
from snn_serve.metrics import Metrics
from snn_serve.refusal import Refusal, refusal_of

PUBLIC = re.compile(r"/(|page\.css|page\.js|api|api\.js|openapi\.json|v2/health/(live|ready))")
"""Paths that need no token: what orchestrators probe, and pages without anybody's data."""
_SAFE = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
SAFE = [(name.encode(), value.encode()) for name, value in _SAFE.items()]
"""Headers of every answer."""

_HOSTS = "a proxy's name is given by --allowed-host"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    token: str | None
    """None: whoever reaches a loopback address, by one of its names or of `hosts`."""
    hosts: frozenset[str] = frozenset()
    """Names that a proxy has, in lower case: browsers ask for them, and pages come from them."""

    def check(self, path: str, headers: Headers) -> None:
        """Refuse what another site's page sends from a browser, and who lacks the token.

        Raises:
            Refusal: 401 or 403.
        """
        host = headers.get("host", "")
        if self.token is None and not (_is_loopback(host) or _name(host) in self.hosts):
            # A name that an attacker's DNS points here would make a page of theirs one of ours.
            raise Refusal(403, "forbidden_host", f"the host is no name of this server; {_HOSTS}")
        page = headers.get("origin", f"://{host}").partition("://")[2]
        if page != host and _name(page) not in self.hosts:
            raise Refusal(403, "forbidden_origin", f"pages of other sites may not ask; {_HOSTS}")
        if self.token is None or PUBLIC.fullmatch(path):
            return
        given = headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
            raise Refusal(401, "token", "authorization: expected Bearer and the server's token")


def _name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def _is_loopback(host: str) -> bool:
    name = _name(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Gate:
    """The outermost application."""

    def __init__(
        self, app: ASGIApp, access: Access, metrics: Metrics, leaving: Callable[[], bool]
    ) -> None:
        self._app, self._access, self._metrics = app, access, metrics
        self._leaving = leaving
        """Whether the server drains: connections are then not kept."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, headers = time.perf_counter(), Headers(scope=scope)
        request_id, status = request_id_of(headers.get("x-request-id", "")), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [*SAFE, (b"x-request-id", request_id.encode())]
                if self._leaving():
                    own.append((b"connection", b"close"))
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        try:
            self._access.check(scope["path"], headers)
            await self._app({**scope, "app": self}, receive, sending)
        except ClientDisconnect:
            status = 499
        except Exception as error:
            refusal = _refusal(error, request_id)
            if status == 0:
                await error_response(refusal, request_id)(scope, receive, sending)
        finally:
            taken = time.perf_counter() - begun
            self._metrics.answered(route_of(scope["path"]), status, taken)


def request_id_of(given: str) -> str:
    """Return the client's id for a request, or one of ours."""
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def route_of(path: str) -> str:
    """Return the label of a path in the metrics: few, whatever strangers ask for."""
    if path.endswith("/infer"):
        return "infer"
    first = path.split("/")[1] if path.startswith("/") else ""
    return first if first in ("predict", "stream", "v2", "metrics") else "other"


def _refusal(error: Exception, request_id: str) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        allowed = (error.headers or {}).get("Allow", "")
        names = {404: "no such page: /api lists them", 405: f"this page answers {allowed} only"}
        message = names.get(error.status_code, "the request cannot be answered")
        return Refusal(error.status_code, f"http_{error.status_code}", message, allowed=allowed)
    if not isinstance(error, SnnError):
        for line in "".join(traceback.format_exception(error)).splitlines():
            _log.error("request %s: %s", request_id, line)
        return Refusal(500, "internal", "internal error; the server's log has more under this id")
    refusal = refusal_of(error)
    if refusal.status >= 500:
        _log.error("request %s: %s", request_id, error)
    return refusal


def error_response(refusal: Refusal, request_id: str) -> Response:
    """Return what a client reads of a refusal."""
    fields = {"error": refusal.message, "code": refusal.code, "request_id": request_id}
    return json_response(fields, refusal.status, refusal.headers)


def json_response(
    fields: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a JSON body; a number that JSON has not is an error of ours."""
    body = json.dumps(fields, allow_nan=False).encode() + b"\n"  # or a shell's prompt follows it
    return Response(body, status, headers, media_type="application/json")
