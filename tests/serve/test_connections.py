"""What clients do with one connection: ask ahead, end a body oddly, wish for other protocols."""

import socket
from collections.abc import Iterator

import pytest
from serving import CAT, Running, running

from snn_serve.connections import PIPELINED
from snn_serve.limits import Limits

HOST = b"Host: localhost\r\n"
PROBE = b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n"
LAST = b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
CHUNKED = b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": b"Connection: keep-alive, upgrade\r\nUPGRADE: websocket\r\n",
    "none": b"",
}


def answers(connection: socket.socket, *pieces: bytes) -> bytes:
    """What comes until the server closes, when these pieces are sent."""
    found = b""
    try:
        for piece in pieces:
            connection.sendall(piece)
        while piece := connection.recv(65536):
            found += piece
    except (BrokenPipeError, ConnectionResetError):
        pass
    return found


def statuses(found: bytes) -> list[bytes]:
    """The status of each answer; no body in these tests has such words."""
    return [piece[:3] for piece in found.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("trailer", [b"a: b\r\n", b"a" * 2**12, b"a: " + b"b" * 2**20])
def test_trailers_are_bounded(server: Running, trailer: bytes) -> None:
    """By the limit of heads, and what one read may hold. One that never ends is one, too."""
    sent = CHUNKED + b"1\r\nx\r\n0\r\n" + trailer * (4 * 2**20 // len(trailer))
    with server.socket() as connection:
        assert answers(connection, sent + b"\r\n\r\n" + LAST) == b""
    assert server.ask("/v2/health/live")[0] == 200


def test_the_extension_of_a_chunk_is_bounded(server: Running) -> None:
    with server.socket() as connection:
        sent = CHUNKED + b"1;x=" + b"y" * 4 * 2**20 + b"\r\nx\r\n0\r\n\r\n" + LAST
        assert answers(connection, sent) == b""


def test_trailers_are_no_headers(server: Running) -> None:
    """A small chunked body with some is read as ever, however small its chunks are."""
    assert (size := CAT.stat().st_size) > Limits().header_bytes / 64
    picture = CAT.read_bytes()
    chunks = b"".join(b"1;odd\r\n%c\r\n" % byte for byte in picture)
    assert len(chunks) > 5 * size
    trailers = b"0\r\nHost: attacker.example\r\nContent-Encoding: x\r\n\r\n"
    with server.socket() as connection:
        sent = CHUNKED + b"1\r\nx\r\n" + trailers  # all of which is there when it is answered
        assert statuses(answers(connection, sent + LAST)) == [b"422", b"200"]
    with server.socket() as connection:
        assert statuses(answers(connection, CHUNKED + chunks + trailers + LAST)) == [b"200", b"200"]


def test_few_requests_wait_for_one_before_them(server: Running) -> None:
    """The last that is answered says that it is the last, and what is behind it is dropped."""
    with server.socket() as connection:
        found = answers(connection, PROBE * (PIPELINED + 1000))
    assert statuses(found) == [b"200"] * (PIPELINED + 1)
    assert found.count(b"connection: close\r\n") == 1
    with server.socket() as connection:  # so many are answered, and the connection is kept
        connection.sendall(PROBE * (PIPELINED + 1))
        found = b""
        while len(statuses(found)) < PIPELINED + 1 or not found.endswith(b"}\n"):
            found += connection.recv(65536)
        assert b"connection: close\r\n" not in found
        assert statuses(answers(connection, LAST + PROBE)) == [b"200"]


@pytest.fixture(scope="module")
def hasty() -> Iterator[Running]:
    """A server that keeps connections for a second, and lets a client ask once."""
    with running(keep_alive=1, client_rate=0.001, client_burst=1) as started:
        assert started.ask("/v2")[0] == 200
        yield started


@pytest.mark.parametrize(("path", "status"), [(b"/v2", b"429"), (b"/api", b"200")])
def test_a_body_that_follows_its_answer_keeps_no_connection(
    hasty: Running, path: bytes, status: bytes
) -> None:
    """Whether that is a refusal of its head or a page."""
    with hasty.socket() as connection:
        connection.sendall(b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)
        assert answers(connection, b"abcde") == b""


def test_a_refusal_of_head_has_no_body(hasty: Running) -> None:
    """Else its client takes the body for the next answer."""
    with hasty.socket() as connection:
        sent = b"HEAD /v2 HTTP/1.1\r\n" + HOST + b"\r\n" + LAST
        head, _, rest = answers(connection, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ") and b"content-length: 0" not in head
    assert b"content-length: " in head and rest.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("wish", UPGRADES)
@pytest.mark.parametrize("chunked", [False, True])
def test_who_asks_for_another_protocol_is_answered_in_this_one(
    server: Running, wish: str, chunked: bool
) -> None:
    picture = CAT.read_bytes()
    head = b"POST /predict HTTP/1.1\r\n" + HOST + UPGRADES[wish]
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"%x\r\n" % len(picture) + picture + b"\r\n0\r\n\r\n"
    else:
        head += b"Content-Length: %d\r\n\r\n" % len(picture)
        body = picture
    plain = PROBE.replace(HOST, HOST + UPGRADES[wish])
    whole = head + body
    with server.socket() as connection:  # at once, among others
        found = answers(connection, plain + whole + plain + LAST)
        assert statuses(found) == [b"200"] * 4 and found.count(b'"label": "cat"') == 1
    cuts = (20, len(head) - 1, len(head), len(head) + 1, len(whole) - 1)
    for cut in cuts:
        with server.socket() as connection:
            connection.sendall(whole[:cut])
            server.ask("/v2/health/live")  # and so the first piece has been read
            assert statuses(answers(connection, whole[cut:] + LAST)) == [b"200", b"200"]


@pytest.mark.parametrize("wish", UPGRADES)
def test_a_body_is_no_request(server: Running, wish: str) -> None:
    head = b"POST /predict HTTP/1.1\r\n" + HOST + UPGRADES[wish]
    sent = head + b"Content-Length: %d\r\n\r\n" % len(PROBE) + PROBE
    with server.socket() as connection:
        assert statuses(answers(connection, sent + LAST)) == [b"422", b"200"]


def test_this_is_no_proxy(server: Running) -> None:
    """What follows a CONNECT is for the other end of its tunnel."""
    with server.socket() as connection:
        sent = b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n" + PROBE
        assert statuses(answers(connection, sent)) == [b"400"]
    with server.socket() as connection:  # HTTP/1.0 has no Upgrade, and keeps no connection
        sent = PROBE.replace(b"1.1\r\n", b"1.0\r\n" + UPGRADES["h2c"])
        assert statuses(answers(connection, sent + PROBE)) == [b"200"]


@pytest.mark.parametrize("ending", [b"keep-alive", b"close"])
def test_what_is_no_http_behind_a_request_leaves_it_its_answer(
    server: Running, ending: bytes
) -> None:
    """As where a body is longer than its length says."""
    picture = CAT.read_bytes()
    head = b"POST /predict HTTP/1.1\r\n" + HOST + b"Connection: " + ending
    sent = head + b"\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture + b"xx\r\n" + PROBE
    with server.socket() as connection:
        assert statuses(answers(connection, sent)) == [b"200"]


@pytest.mark.parametrize("wish", UPGRADES)
def test_nothing_is_answered_behind_the_last(hasty: Running, wish: str) -> None:
    """Neither where that one is refused by its head."""
    last = LAST.replace(HOST, HOST + UPGRADES[wish])
    for path, status in ((b"/v2/health/live", b"200"), (b"/v2", b"429")):
        with hasty.socket() as connection:
            sent = last.replace(b"/v2/health/live", path) + PROBE * 3 + b"\0"
            assert statuses(answers(connection, sent)) == [status]
