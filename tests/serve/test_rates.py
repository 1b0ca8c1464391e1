"""How often a client may ask, who a client is, and what is told to the one who asks too often."""

from hypothesis import given
from hypothesis import strategies as st
from serving import CAT, Running, running

from snn_serve.limits import Limits
from snn_serve.rates import CLIENTS, Rates
from snn_serve.refusal import Refusal

PROXY = "10.0.0.1"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def asks(rates: Rates, peer: str = "192.0.2.1", *forwarded: str) -> int:
    """0, or the seconds after which to try again."""
    try:
        rates.check(peer, [(b"x-forwarded-for", each.encode()) for each in forwarded])
    except Refusal as refusal:
        assert refusal.status == 429
        return int(refusal.headers["retry-after"])
    return 0


@given(st.integers(1, 20), st.integers(1, 8), st.lists(st.floats(0, 3), max_size=60))
def test_it_is_a_bucket_of_requests(rate: int, burst: int, pauses: list[float]) -> None:
    """As a bucket with a level, which fills at the rate, and from which each request takes 1."""
    clock, level = Clock(), float(burst)
    rates = Rates(Limits(client_rate=rate, client_burst=burst), (), clock)
    for pause in pauses:
        clock.now += pause
        level = min(burst, level + pause * rate)
        wait = asks(rates)
        if abs(level - 1) > 1e-6:
            assert (wait == 0) == (level > 1)
        if wait == 0:
            level -= 1
        else:
            assert wait >= (1 - level) / rate - 1e-6


def test_without_a_rate_nobody_is_counted() -> None:
    rates = Rates(Limits())
    assert not any(asks(rates) for _ in range(1000))


def test_a_client_is_an_address_or_a_network_of_ipv6() -> None:
    rates = Rates(Limits(client_rate=1, client_burst=1), (PROXY,), Clock())
    assert not asks(rates, "192.0.2.1") and asks(rates, "192.0.2.1")
    assert not asks(rates, "192.0.2.2")
    assert asks(rates, "::ffff:192.0.2.2")
    assert not asks(rates, "2001:db8::1") and asks(rates, "2001:db8::ffff:2")
    assert not asks(rates, "2001:db8:0:1::1")


def test_only_a_trusted_proxy_says_who_it_is() -> None:
    rates = Rates(Limits(client_rate=1, client_burst=1), (PROXY,), Clock())
    assert not asks(rates, PROXY, "192.0.2.1")
    assert not asks(rates, PROXY, "192.0.2.2")
    assert asks(rates, PROXY, "192.0.2.3, 192.0.2.1")  # the first one is what the client wrote
    assert asks(rates, PROXY, "192.0.2.3", "192.0.2.1")
    assert not asks(rates, PROXY) and asks(rates, PROXY, "")  # the proxy itself
    assert not asks(rates, "192.0.2.9", "192.0.2.10") and asks(rates, "192.0.2.9", "192.0.2.11")


def test_memory_is_bounded_and_the_newest_clients_are_kept() -> None:
    rates = Rates(Limits(client_rate=1, client_burst=1), (), Clock())
    for number in range(CLIENTS + 1):
        assert not asks(rates, f"client {number}")
    assert asks(rates, "client 1") and asks(rates, f"client {CLIENTS}")
    assert not asks(rates, "client 0")  # forgotten


def test_a_client_of_the_server_that_asks_too_often() -> None:
    picture = CAT.read_bytes()
    slow = {"client_rate": 0.001, "client_burst": 2}
    with running("--trusted-proxy", "127.0.0.1", **slow) as server:
        for _ in range(2):
            assert server.ask("/predict", picture)[0] == 200
        with server.socket() as connection:  # the body is not waited for
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n"
            )
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
            assert b'"code": "too_often"' in answer and b"\r\nx-content-type-options" in answer
            connection.sendall(bytes(2000))  # it is dropped, and the connection goes on
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        status, headers, _ = server.ask("/predict", picture, {"x-request-id": "mine"})
        assert status == 429 and 900 < int(headers["retry-after"]) <= 1000
        assert headers["x-request-id"] == "mine"
        other = {"x-forwarded-for": "192.0.2.7"}
        assert server.ask("/predict", picture, other)[0] == 200
        asked = 'snn_requests_total{route="predict",status="429"} 2.0'
        assert asked in server.ask("/metrics", headers=other)[2].decode()
        at_once(server)


def at_once(server: Running) -> None:
    """Who sends many requests in one piece gets the answers that there are."""
    line = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.8\r\n\r\n"
    with server.socket() as connection:
        connection.sendall(4 * line)
        answers = b""
        while piece := connection.recv(65536):
            answers += piece
        assert answers.count(b"HTTP/1.1 200 ") == 2 and answers.count(b"HTTP/1.1 ") == 2
