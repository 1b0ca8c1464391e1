"""Deadlines, numbers and loads: what one client can do to others."""

import base64
import http.client
import io
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from serving import CAT, PATIENCE, PHOTOS, ROOT, Running, running

import snn_runtime
from snn_runtime.errors import UsageError
from snn_serve.gate import SAFE
from snn_serve.limits import Limits, with_limits

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
PROBE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def everything(connection: socket.socket) -> bytes:
    """What the server sends until it closes."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def is_safe(answer: bytes) -> bool:
    """Whether it has the headers of every answer."""
    return all(b"\r\n" + name + b": " + value + b"\r\n" in answer for name, value in SAFE)


def stopped(server: Running) -> list[int]:
    """Stop all decoders, so that pictures stay where they are; their process ids."""
    children = server.decoders()
    for child in children:
        os.kill(child, signal.SIGSTOP)
    return children


def test_heads_and_bodies_that_do_not_end() -> None:
    with running(header_seconds=1, body_seconds=3, header_bytes=4096) as server:
        with server.socket() as silent, server.socket() as endless:
            silent.sendall(HEAD + b"x")
            endless.sendall(HEAD.replace(b"1000", b"900000") + bytes(500_000))
            for connection in (silent, endless):
                answer = everything(connection)
                assert answer.startswith(b"HTTP/1.1 408 ") and b"slow_body" in answer
        for sent in (b"", PROBE[:20]):
            with server.socket() as connection:
                connection.sendall(sent)
                assert everything(connection) == b""
        with server.socket() as connection:
            connection.sendall(PROBE[:-2] + b"X-Long: " + b"x" * 3000)
            connection.sendall(b"x" * 3000)
            assert everything(connection) == b""
        assert server.ask("/v2/health/live")[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"BAD / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n\tb\x01\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_gets_no_5xx(server: Running, sent: bytes) -> None:
    with server.socket() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        found = everything(connection)
    assert found == b"" or (found.startswith(b"HTTP/1.1 4") and is_safe(found)), found
    assert server.ask("/v2/health/live")[0] == 200


@pytest.fixture(scope="module")
def small() -> Iterator[Running]:
    """A server of few connections, and a decoder of little memory and time."""
    with running(connections=8, decode_seconds=2, decode_memory=2**24) as started:
        yield started


def test_the_longest_idle_connections_make_room(small: Running) -> None:
    small.process.send_signal(signal.SIGSTOP)
    idle = [small.socket() for _ in range(30)]
    small.process.send_signal(signal.SIGCONT)  # which finds all of them at once
    assert small.ask("/v2/health/live")[0] == 200
    told = [everything(connection) for connection in idle[:23]]
    assert all(b"503 Service Unavailable\r\nretry-after: 1\r\n" in each for each in told[:8])
    assert all(is_safe(each) and json.loads(each.split(b"\r\n\r\n")[1]) for each in told[:8])
    assert not any(told[8:])  # as many as may be open, and no more, are read for another moment
    idle[-1].sendall(PROBE)
    assert idle[-1].recv(100).startswith(b"HTTP/1.1 200 ")
    for connection in idle:
        connection.close()


def test_who_is_gone_makes_room_for_the_next() -> None:
    """Also where a client has left before it was told that it has to."""
    with running(connections=8) as server:
        server.process.send_signal(signal.SIGSTOP)
        for _ in range(30):
            server.socket().close()
        server.process.send_signal(signal.SIGCONT)
        assert server.ask("/v2/health/live")[0] == 200
        assert server.end() == 0 and not any("Exception" in line for line in server.rest())


def test_a_request_that_finds_no_room_is_told(small: Running) -> None:
    """Also where it was written before the server knew of its connection."""
    small.process.send_signal(signal.SIGSTOP)
    asked = [small.socket() for _ in range(12)]
    for connection in asked:
        connection.sendall(PROBE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    small.process.send_signal(signal.SIGCONT)
    codes = [everything(connection)[9:12] for connection in asked]
    assert codes == [b"503"] * 4 + [b"200"] * 8
    for connection in asked:
        connection.close()


def test_overload_is_refused_and_what_was_accepted_is_answered() -> None:
    with running(queue=4, batch=2, decode_seconds=60, answer_seconds=60) as server:
        children = stopped(server)
        picture = CAT.read_bytes()
        with ThreadPoolExecutor(4) as pool:
            accepted = [pool.submit(server.ask, "/predict", picture) for _ in range(4)]
            server.wait_for('snn_waiting{model="default"}', 4)
            status, headers, text = server.ask("/predict", picture)
            assert (status, headers["retry-after"]) == (503, "1")
            assert json.loads(text)["code"] == "busy"
            assert server.ask("/v2/health/live")[0] == 200
            refused_by_its_head(server)
            for child in children:
                os.kill(child, signal.SIGCONT)
            assert [each.result()[0] for each in accepted] == [200] * 4
        assert server.ask("/predict", picture)[0] == 200


def refused_by_its_head(server: Running) -> None:
    with server.socket() as connection:
        connection.sendall(HEAD)  # no body comes
        assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")
        connection.sendall(bytes(1000) + PROBE)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(HEAD + b"x")
        found = everything(connection)  # the rest comes too slowly
        assert found.startswith(b"HTTP/1.1 503 ") and found.endswith(b"}\n")
    with server.socket() as connection:
        connection.sendall(HEAD.replace(b"1.1", b"1.0"))
        assert b"\r\nconnection: close\r\n" in everything(connection)


def test_bodies_hold_no_more_memory_than_allowed() -> None:
    with running(held_bytes=1500) as server:
        with server.socket() as first:
            first.sendall(HEAD + bytes(999))
            server.wait_for("snn_held_bytes", 999)
            assert server.ask("/predict", bytes(900))[0] == 503
        server.wait_for("snn_held_bytes", 0)  # it is seen to be gone
        assert server.ask("/predict", bytes(900))[0] == 422


def test_a_deadline_passes_and_the_server_goes_on() -> None:
    with running(answer_seconds=0.3, decode_seconds=60) as server:
        stopped(server)
        status, headers, text = server.ask("/predict", CAT.read_bytes())
        assert (status, headers["retry-after"]) == (504, "1")
        assert json.loads(text)["code"] == "deadline"
        assert server.metric("snn_decoders_lost_total") == 1
        assert server.metric('snn_waiting{model="default"}') == 0


def together(*pictures: bytes) -> bytes:
    """A request of several pictures."""
    data = [base64.b64encode(picture).decode() for picture in pictures]
    given = {"name": "images", "datatype": "BYTES", "shape": [len(data)], "data": data}
    return json.dumps({"inputs": [given]}).encode()


def test_one_bad_picture_gives_no_place_away_while_others_are_decoded() -> None:
    """They are decoded to the end, for the sake of the decoder, and no other one is begun."""
    path, sent = "/v2/models/default/infer", together(*[b"no picture"] * 8)
    with running(decoders=2, decode_seconds=60, answer_seconds=60) as server:
        child = server.decoders()[0]
        os.kill(child, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(server.json, path, sent)
            server.wait_for("snn_decoding", 1)
            held = 'snn_waiting{model="default"}', "snn_held_bytes"
            assert [server.metric(name) for name in held] == [8, len(sent)]
            assert not asked.done()
            os.kill(child, signal.SIGCONT)
            assert asked.result()["code"] == "not_an_image"
        left = (*held, "snn_decoding", "snn_decoders_lost_total")
        assert [server.metric(name) for name in left] == [0] * 4
        assert server.ask(path, together(*[CAT.read_bytes()] * 8))[0] == 200


def test_a_deadline_ends_all_pictures_of_a_request() -> None:
    path, sent = "/v2/models/default/infer", together(*[CAT.read_bytes()] * 8)
    with running(decoders=2, answer_seconds=0.3, decode_seconds=60) as server:
        stopped(server)
        assert server.json(path, sent)["code"] == "deadline"
        assert server.metric('snn_waiting{model="default"}') == 0
        assert server.metric("snn_decoding") == 0
        assert server.metric("snn_decoders_lost_total") == 2  # and none for who waited
        server.wait_for("snn_held_bytes", 0)


def test_decoders_may_die(small: Running) -> None:
    picture = CAT.read_bytes()
    stopped(small)
    assert small.json("/predict", picture)["code"] == "slow_picture"  # and it is replaced
    assert small.metric("snn_decoders_lost_total") == 1
    assert small.ask("/predict", picture)[0] == 200  # which starts another
    (child,) = small.decoders()
    os.kill(child, signal.SIGKILL)
    assert small.ask("/predict", picture)[0] == 200


def test_a_decoder_has_little_memory(small: Running) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(buffer, "PNG")
    assert small.json("/predict", buffer.getvalue())["code"] == "too_many_pixels"
    assert small.ask("/predict", CAT.read_bytes())[0] == 200


def test_batched_answers_are_single_answers() -> None:
    """Bit for bit, on both engines, whatever came together."""
    pictures = [(PHOTOS / name).read_bytes() for name in ("cat.jpg", "dog.jpg", "moose.jpg")]
    for backend in ("event", "onnxruntime"):
        model = snn_runtime.load(
            backend="event" if backend == "event" else "onnxruntime", threads=1
        )
        images = np.stack([model.prepare(picture)[0] for picture in pictures])
        alone = [model.logits(image[np.newaxis])[0].tolist() for image in images]
        with running("--backend", backend, batch=4, batch_delay=60, answer_seconds=60) as server:
            ready = threading.Barrier(4)

            def ask(
                number: int, server: Running = server, ready: threading.Barrier = ready
            ) -> object:
                connection = server.connect()
                connection.connect()
                ready.wait(PATIENCE)
                return logits(connection, pictures[number % 3])

            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(ask, range(4)))
            assert answers == [alone[number % 3] for number in range(4)]
            assert server.metric('snn_batch_size_sum{model="default"}') == 4
            assert server.metric('snn_batch_size_count{model="default"}') == 1


def logits(connection: http.client.HTTPConnection, picture: bytes) -> object:
    connection.request("POST", "/predict?top=10", picture)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return [p["logit"] for p in sorted(answer["predictions"], key=lambda p: p["index"])]


def test_limits_are_read() -> None:
    assert with_limits([]) == Limits()
    limits = with_limits(["queue=99", "batch_delay=0.5", "grace_seconds=0"])
    assert (limits.queue, limits.batch_delay, limits.grace_seconds) == (99, 0.5, 0)
    with pytest.raises(UsageError, match="queue has a value already"):
        with_limits(["queue=99", "batch=5", "queue=98"])
    for wrong in ("queue", "queue=0", "queue=1.5", "queue=8", "colour=3", "body_seconds=-1",
                  "body_seconds=nan", "body_seconds=inf", "keep_alive=x"):  # fmt: skip
        with pytest.raises(UsageError, match="--limit"):
            with_limits([wrong])


def test_the_table_of_limits_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "reference" / "serving.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", page, re.M)
    assert {name: float(value) for name, value in rows} == vars(Limits())
