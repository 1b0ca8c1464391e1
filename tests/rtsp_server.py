"""A camera that speaks RTSP over one TCP connection: each JPEG as RTP packets of RFC 2435."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track\r\n"
)
_MOST = 1200


class Viewer:
    """One connection that watches."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._sequence = 0

    def show(self, jpeg: bytes, seconds: float) -> None:
        """Send a JPEG of Pillow's usual kind (4:2:0, usual Huffman tables), taken at a time."""
        tables, width, height, scan = _parts(jpeg)
        for start in range(0, len(scan), _MOST):
            piece = scan[start : start + _MOST]
            head = struct.pack(">II", start, 1 << 24 | 255 << 16 | width // 8 << 8 | height // 8)
            if start == 0:
                head += struct.pack(">HH", 0, len(tables)) + tables
            last = 0x80 if start + _MOST >= len(scan) else 0
            rtp = struct.pack(
                ">BBHII", 0x80, last | 26, self._sequence & 0xFFFF, int(90_000 * seconds), 7
            )
            self._sequence += 1
            packet = rtp + head + piece
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
    def __init__(self, show: Show, refusal: str) -> None:
        self._show, self._refusal = show, refusal
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
                    headers, body = "Content-Type: application/sdp\r\n", _SDP
                elif method == "SETUP":
                    headers += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                head = f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n{headers}"
                connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                if method == "PLAY":
                    return self._show(Viewer(connection))


@contextmanager
def showing(show: Show, *, refusal: str = "") -> Iterator[Server]:
    """Run a camera that shows this to each viewer, or refuses each with a status."""
    server = Server(show, refusal)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield server
    finally:
        server.listener.close()
