"""What HTTP servers and frameworks add to an answer: latency, memory, start, slow clients.

    python runtime/benchmarks/http_stacks.py

Needs uvicorn, httptools, granian, starlette, fastapi and litestar. Every pair runs the same handler
in a process of its own: it reads a body of 40 KB and answers with a small JSON object.
"""

import argparse
import importlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BODY = 40_000
HEADER = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n".encode()
REQUEST = HEADER + bytes(BODY)
FRAMEWORKS = ("plain", "starlette", "fastapi", "litestar")
SERVERS = ("uvicorn-h11", "uvicorn-httptools", "granian")
PATIENCE = 12.0
"""Seconds for which a slow client is watched."""


def plain() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message.get("more_body", False)
        body = b'{"size":%d}' % size
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def starlette() -> Any:
    applications, responses, routing = (
        importlib.import_module(f"starlette.{name}")
        for name in ("applications", "responses", "routing")
    )

    async def predict(request: Any) -> Any:
        return responses.JSONResponse({"size": len(await request.body())})

    return applications.Starlette(routes=[routing.Route("/predict", predict, methods=["POST"])])


def fastapi() -> Any:
    package = importlib.import_module("fastapi")
    app = package.FastAPI()

    async def predict(request: Any) -> dict[str, int]:
        return {"size": len(await request.body())}

    predict.__annotations__["request"] = package.Request
    app.post("/predict")(predict)
    return app


def litestar() -> Any:
    package = importlib.import_module("litestar")

    async def predict(request: Any) -> dict[str, int]:
        return {"size": len(await request.body())}

    predict.__annotations__["request"] = package.Request
    return package.Litestar([package.post("/predict", status_code=200)(predict)])


APPS: dict[str, Callable[[], Any]] = {
    "plain": plain,
    "starlette": starlette,
    "fastapi": fastapi,
    "litestar": litestar,
}


def serve(server: str, framework: str, port: int) -> None:
    """Run one pair in this process, until it is ended."""
    if server == "granian":
        embedded = importlib.import_module("granian.server.embed")
        asyncio = importlib.import_module("asyncio")
        run = embedded.Server(APPS[framework](), port=port, interface="asgi", log_enabled=False)
        asyncio.run(run.serve())
        return
    uvicorn = importlib.import_module("uvicorn")
    kind = server.partition("-")[2]
    uvicorn.run(APPS[framework](), port=port, http=kind, log_level="error", access_log=False)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket) -> bytes:
    """Send one request; return the answer, whose head and body may come apart."""
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"}"):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed without an answer")
        answer += piece
    return answer


def first_answer(port: int, since: float) -> float:
    """Return the seconds from `since` to the first answer."""
    while time.perf_counter() - since < 30:
        try:
            with connected(port) as connection:
                ask(connection)
                return time.perf_counter() - since
        except OSError:
            time.sleep(0.005)
    raise SystemExit("no answer within 30 s")


def resident(process: int) -> float:
    """Return the memory of a process, MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def closed_after(port: int, sent: bytes) -> str:
    """Send a byte a second after `sent`; return when the server closes, if it does."""
    begun = time.perf_counter()
    with connected(port) as connection:
        connection.sendall(sent)
        connection.settimeout(1.0)
        while time.perf_counter() - begun < PATIENCE:
            try:
                if not connection.recv(65536):
                    break
            except TimeoutError:
                connection.sendall(b"x")
            except OSError:
                break
        else:
            return "never"
    return f"{time.perf_counter() - begun:.0f} s"


def measure(server: str, framework: str, count: int, slow: bool) -> str:
    port, begun = free_port(), time.perf_counter()
    words = [sys.executable, __file__, "--serve", server, framework, str(port)]
    process = subprocess.Popen(words, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    try:
        start = first_answer(port, begun)
        times = []
        with connected(port) as connection:
            for _ in range(count):
                before = time.perf_counter()
                ask(connection)
                times.append(1e6 * (time.perf_counter() - before))
        cells = [f"{start:.2f}", f"{resident(process.pid):.0f}"]
        cells += [f"{min(times):.0f}", f"{statistics.median(times):.0f}"]
        if slow:
            cells += [closed_after(port, HEADER[:36]), closed_after(port, HEADER + b"x")]
    finally:
        process.kill()
        process.wait()
    return f"| {server} | {framework} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=3, metavar=("SERVER", "FRAMEWORK", "PORT"))
    parser.add_argument("--count", type=int, default=2000, help="requests (default: %(default)s)")
    parser.add_argument("--slow", action="store_true", help="watch slow clients too: 24 s a row")
    args = parser.parse_args()
    if args.serve:
        server, framework, port = args.serve
        serve(server, framework, int(port))
        return
    print("| server | framework | start, s | MB | least, us | median, us |")
    for server in SERVERS:
        for framework in FRAMEWORKS:
            slow = args.slow and framework == "plain"
            print(measure(server, framework, args.count, slow), flush=True)


if __name__ == "__main__":
    main()
