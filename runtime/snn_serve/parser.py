"""Requests that ask for another protocol, read as HTTP/1.1 allows: as if they did not ask.

httptools believes that what follows the head of such a request is in the other protocol. It skips
the body, which would then be read as the next request. Clients that would like HTTP/2 ask for it in
their first request, whatever it is.
"""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Parser(httptools.HttpRequestParser):
    """Reads a head that has `Upgrade` again, without it, and its body after that.

    The protocol gets both heads, and is to disregard the end of one where `should_upgrade`.
    """

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        # Else what follows a last request is dropped unseen, and so is the body of one that has
        # Upgrade. The protocol knows which is the last.
        self.set_dangerous_leniencies(lenient_keep_alive=True)

    def feed_data(self, data: Any) -> None:
        """Read a piece.

        Raises:
            HttpParserError: it is no HTTP, or CONNECT, which has no body and asks for a tunnel.
        """
        left = memoryview(data)
        while True:
            try:
                super().feed_data(left)
                return
            except httptools.HttpParserUpgrade as found:
                if self.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("this is no proxy") from found
                left = left[found.args[0] :]
            super().feed_data(self._without_upgrade())

    def _without_upgrade(self) -> bytes:
        """The head that was read last. It had no folded lines, which httptools refuses."""
        version = b"HTTP/" + self.get_http_version().encode()
        lines = [b" ".join((self.get_method(), self._protocol.url, version))]
        given = self._protocol.headers
        lines += [name + b": " + value for name, value in given if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
