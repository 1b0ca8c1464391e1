"""Pictures by HTTP: one, the same address again and again, or a camera's MJPEG.

MJPEG is a response of many parts, `multipart/x-mixed-replace`. Between two pictures stand headers,
which are text, so that the start of a JPEG cannot be in them.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from urllib.parse import unquote, urlsplit

from snn_runtime.addresses import opener, public, reason_of
from snn_runtime.errors import BusyError, InputError
from snn_runtime.image.picture import DEFAULT_LIMITS, Limits
from snn_runtime.image.series import pictures
from snn_runtime.video.latest import Pictures, Shown

MJPEG = "multipart/x-mixed-replace"
_PASSING = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses that may be others a little later."""


class Address:
    """What an address shows: all pictures of MJPEG, else one, or one `every` so many seconds."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        every: float | None = None,
        limits: Limits = DEFAULT_LIMITS,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Open nothing yet; `timeout` is how many seconds a server may take to send something."""
        self._url = url
        self._timeout = timeout
        self._every = every
        self._limits = limits
        self._sleep = sleep

    def read(self) -> Pictures:
        """Yield the pictures of one connection.

        Raises:
            BusyError: `camera_lost`: it cannot be reached now, or stops sending.
            InputError: `unreachable`: it refuses; `too_many_bytes`.
        """
        while True:
            with closing(_opened(self._url, self._timeout)) as response:
                goes_on = response.headers.get_content_type() == MJPEG
                single = not goes_on and self._every is None
                for each in pictures(_Body(response), self._limits, headers=goes_on):
                    if isinstance(each, tuple):
                        yield Shown(each[0], time.time(), single)
                    else:  # nothing, or what may stand behind a picture in a file, too
                        yield None
            if goes_on or self._every is None:
                return single
            self._sleep(self._every)


class _Body:
    """The bytes of a response as they arrive."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def waits(self) -> bool:
        return True  # nobody can tell, and who asks only looks at the clock

    def read(self, size: int) -> bytes:
        try:
            return self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise _lost(error) from error


def _opened(url: str, timeout: float) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = _opener(url).open(public(url), timeout=timeout)
        return response
    except urllib.error.HTTPError as error:
        error.close()
        said = f"the server answers {error.code} {error.reason}"
        if error.code in _PASSING:
            raise BusyError("camera_lost", said) from error
        raise InputError("unreachable", said) from error
    except (OSError, http.client.HTTPException) as error:
        raise _lost(error) from error
    except ValueError as error:
        raise InputError("unreachable", f"this is no address: {error}") from error


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what follows redirections, and says the user of an address."""
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    parts = urlsplit(url)
    if parts.username is not None:
        known.add_password(
            None, public(url), unquote(parts.username), unquote(parts.password or "")
        )
    return opener(
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDigestAuthHandler(known),
        urllib.request.HTTPBasicAuthHandler(known),
    )


def _lost(error: OSError | http.client.HTTPException) -> BusyError:
    return BusyError("camera_lost", f"no connection: {reason_of(error)}")
