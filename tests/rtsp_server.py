"""A camera that speaks RTSP over one TCP connection.

It sends JPEGs as RTP packets of RFC 2435, or MPEG-4, whose pictures say what changes, by RFC 6416.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP {}\r\na=control:track\r\n"
)
JPEG = _SDP.format(26)
MPEG4 = _SDP.format(96) + "a=rtpmap:96 MP4V-ES/90000\r\na=fmtp:96 config={}\r\n"
_MOST = 1200


class Viewer:
    """One connection that watches."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._sequence = 0

    def show(self, jpeg: bytes, seconds: float) -> None:
        """Send a JPEG of Pillow's usual kind (4:2:0, usual Huffman tables), taken at a time."""
        tables, width, height, scan = _parts(jpeg)
        pieces = []
        for start in range(0, len(scan), _MOST):
            head = struct.pack(">II", start, 1 << 24 | 255 << 16 | width // 8 << 8 | height // 8)
            if start == 0:
                head += struct.pack(">HH", 0, len(tables)) + tables
            pieces.append(head + scan[start : start + _MOST])
        self._send(pieces, 26, seconds)

    def show_changes(self, data: bytes, seconds: float) -> None:
        """Send one picture of MPEG-4."""
        pieces = [data[start : start + _MOST] for start in range(0, len(data), _MOST)]
        self._send(pieces, 96, seconds)

    def _send(self, pieces: list[bytes], kind: int, seconds: float) -> None:
        for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
            last = 0 if left else 0x80
            rtp = struct.pack(
                ">BBHII", 0x80, last | kind, self._sequence & 0xFFFF, int(90_000 * seconds), 7
            )
            self._sequence += 1
            packet = rtp + piece
            self.connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)


Show = Callable[[Viewer], None]


def _parts(jpeg: bytes) -> tuple[bytes, int, int, bytes]:
    """Quantisation tables, width, height, and the scan of a JPEG without its end."""
    tables, place, size = b"", 2, (0, 0)
    while jpeg[place + 1] != 0xDA:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        body = jpeg[place + 4 : place + 2 + length]
        if marker == 0xDB:
            tables += b"".join(body[at + 1 : at + 65] for at in range(0, len(body), 65))
        elif marker == 0xC0:
            size = struct.unpack(">HH", body[1:5])
        place += 2 + length
    scan = jpeg[place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big") : -2]
    return tables, size[1], size[0], scan


class Server:
    def __init__(self, show: Show, refusal: str, about: str) -> None:
        self._show, self._refusal, self._about = show, refusal, about
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self.listener.getsockname()[1]}/main"
        self.connections = 0

    def run(self) -> None:
        with suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as lines:
            while request := lines.readline().decode():
                method, number = request.split()[0], "0"
                while (line := lines.readline().decode().strip()) != "":
                    if line.lower().startswith("cseq:"):
                        number = line.split(":")[1].strip()
                status, headers, body = "200 OK", "Session: 1\r\n", ""
                if method == "OPTIONS":
                    headers = "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n"
                elif method == "DESCRIBE" and self._refusal:
                    status = self._refusal
                elif method == "DESCRIBE":
                    headers, body = "Content-Type: application/sdp\r\n", self._about
                elif method == "SETUP":
                    headers += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                head = f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n{headers}"
                connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                if method == "PLAY":
                    return self._show(Viewer(connection))


@contextmanager
def showing(show: Show, *, refusal: str = "", about: str = JPEG) -> Iterator[Server]:
    """Run a camera that shows this to each viewer, or refuses each with a status."""
    server = Server(show, refusal, about)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield server
    finally:
        server.listener.close()
