"""Addresses of http and https: what opens them, and nothing else, also where a server redirects."""

import urllib.request
from urllib.parse import urlsplit, urlunsplit


def public(url: str) -> str:
    """Return an address without user and password, for messages and answers.

    Raises:
        ValueError: it names no host, or a port that there is not.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:
        raise ValueError("expected a host, as in http://camera.local/video.mjpg")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Return what opens http and https, and nothing else, with these handlers besides."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        *handlers,
    ):
        director.add_handler(handler)
    return director


def reason_of(error: Exception) -> str:
    """Why there is no answer, in a few words."""
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
