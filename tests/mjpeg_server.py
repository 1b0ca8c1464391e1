"""A camera on the network: MJPEG by HTTP, and whatever else the test has it do."""

import base64
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bad_inputs.pictures import encoded
from PIL import Image

MJPEG = "multipart/x-mixed-replace; boundary=frame"


class Request(BaseHTTPRequestHandler):
    """What a page does with one request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.close_connection = True
        try:
            self.server.pages[self.path](self)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *_: object) -> None:
        """Nothing: the test looks at answers."""

    def begin(self, kind: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def part(self, data: bytes) -> None:
        """Send a picture of a stream."""
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        self.wfile.write(head.encode() + data + b"\r\n")
        self.wfile.flush()

    def has_user(self, user: str) -> bool:
        """Whether a user is given, asking for one else."""
        given = self.headers.get("Authorization", "")
        if given == "Basic " + base64.b64encode(user.encode()).decode():
            return True
        self.begin("text/plain", 401, WWW_Authenticate='Basic realm="camera"', Content_Length="0")
        return False


Page = Callable[[Request], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    pages: dict[str, Page]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(**pages: Page) -> Iterator[Server]:
    """Serve each page under its name."""
    server = Server(("127.0.0.1", 0), Request)
    server.pages = {f"/{name}": page for name, page in pages.items()}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def picture(data: bytes, kind: str = "image/jpeg") -> Page:
    """A page that is one picture."""

    def page(request: Request) -> None:
        request.begin(kind, Content_Length=str(len(data)))
        request.wfile.write(data)

    return page


def jpeg(colour: str, n: int) -> bytes:
    """A picture of a colour, with a corner of its own."""
    image = Image.new("RGB", (64, 48), colour)
    image.paste((n * 40 % 256,) * 3, (0, 0, 16, 16))
    return encoded(image, "JPEG")


class Camera:
    """An MJPEG camera whose viewers are counted."""

    def __init__(self) -> None:
        self.began = self.here = 0
        self.pictures: Iterator[bytes] = (
            jpeg(colour, n) for n in itertools.count() for colour in ["red"] * 9 + ["blue"]
        )
        self.stalls = threading.Event()

    def page(self, request: Request) -> None:
        self.began += 1
        self.here += 1
        try:
            request.begin(MJPEG)
            for data in self.pictures:
                while self.stalls.is_set():
                    time.sleep(0.01)
                request.part(data)
                time.sleep(0.03)
        finally:
            self.here -= 1
