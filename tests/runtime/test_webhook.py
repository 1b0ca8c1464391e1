"""Posts arrive at a real server; one that is slow, gone or unwilling keeps nobody waiting."""

import argparse
import logging
import socket
import threading
import time

import pytest
from post_server import receiving, slowly

from snn_runtime.condition import address
from snn_runtime.webhook import Webhook


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_posts_arrive_in_order(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[str] = []
    with receiving() as receiver:
        webhook = Webhook(receiver.url, count=outcomes.append)
        for number in range(20):
            webhook.post({"number": number})
        assert webhook.close() == 0
        assert receiver.posts == [{"number": number} for number in range(20)]
    assert outcomes == ["posted"] * 20 and told(caplog) == []


def test_nobody_waits_for_a_receiver_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    go_on, outcomes = threading.Event(), list[str]()
    with receiving(lambda: 204 if go_on.wait(60) else 500) as receiver:
        webhook = Webhook(receiver.url, waiting=3, timeout=60, count=outcomes.append)
        webhook.post({"number": 0})
        receiver.wait_for(1)  # and it hangs
        for number in range(1, 8):
            webhook.post({"number": number})
        assert outcomes == ["dropped"] * 4
        go_on.set()
        assert webhook.close(60) == 4
        assert [each["number"] for each in receiver.posts] == [0, 1, 2, 3]
    (line,) = told(caplog)
    assert line.startswith(f"--post {receiver.url}: 3 posts are waiting already; ")


def test_a_receiver_is_not_waited_for_without_end(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()
    with receiving(lambda: 204 if go_on.wait(60) else 500) as receiver:
        slow = Webhook(receiver.url, timeout=0.05)
        slow.post({})
        assert slow.close(60) == 1
        patient = Webhook(receiver.url, timeout=60)
        patient.post({})
        patient.post({})
        assert patient.close(0.05) == 2
        go_on.set()
    first, second = told(caplog)
    assert "timed out" in first and "no time left" in second


def test_a_slow_receiver_is_waited_for_where_that_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiving(slowly) as receiver:
        webhook = Webhook(receiver.url, waiting=4, patience=10)
        for number in range(40):
            webhook.post({"number": number})
        assert webhook.close(0.03) == 0  # for each that waits
        assert [each["number"] for each in receiver.posts] == list(range(40))
    assert told(caplog) == []


def test_one_that_fails_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    go_on, outcomes = threading.Event(), list[str]()
    with receiving(lambda: 204 if go_on.wait(60) else 500) as receiver:
        webhook = Webhook(receiver.url, waiting=1, timeout=0.2, patience=60, count=outcomes.append)
        began = time.monotonic()
        for number in range(200):
            webhook.post({"number": number})
        assert webhook.close(5) == 200 and time.monotonic() - began < 30
        go_on.set()
    assert outcomes.count("failed") >= 2 and outcomes.count("dropped") > 150
    assert len(told(caplog)) == 1


@pytest.mark.parametrize(("status", "said"), [(500, "500 Internal"), (404, "404 "), (302, "302 ")])
def test_a_failure_is_told_once(status: int, said: str, caplog: pytest.LogCaptureFixture) -> None:
    statuses = iter([status, status, 204, status, status])
    outcomes: list[str] = []
    with receiving(lambda: next(statuses)) as receiver:
        webhook = Webhook(receiver.url, count=outcomes.append)
        for number in range(5):
            webhook.post({"number": number})
        assert webhook.close() == 4 and len(receiver.posts) == 5
    assert outcomes == ["failed", "failed", "posted", "failed", "failed"]
    assert len(told(caplog)) == 2  # once more after it had been well
    assert all(f"the answer is {said}" in line for line in told(caplog))


def test_nobody_is_there(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    webhook = Webhook(f"http://127.0.0.1:{port}/")
    webhook.post({})
    webhook.post({})
    assert webhook.close() == 2
    (line,) = told(caplog)
    assert "Connection refused" in line and logging.ERROR == caplog.records[0].levelno


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/hook/ä", "http://hooks..example.org/x", "x"])
def test_whatever_a_post_breaks_of_is_counted(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The thread goes on; `address` refuses these, and others may come."""
    outcomes: list[str] = []
    webhook = Webhook(url, count=outcomes.append)
    webhook.post({})
    webhook.post({})
    assert webhook.close() == 2 and outcomes == ["failed"] * 2
    (line,) = told(caplog)
    assert line.startswith(f"--post {url}: ")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9/hook/ä", "%C3%A4"),
        ("http://127.0.0.1:9/hook?name=ä", "%C3%A4"),
        ("http://hooks..example.org/x", "'hooks..example.org' is no name of a host"),
        (f"http://{'a' * 64}.example/", "is no name of a host"),
        (f"http://{'ä' * 60}.example/", "is no name of a host"),
    ],
)
def test_addresses_that_cannot_be_written_in_http(url: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        address(url)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://Bücher.example:8443/a?b=%C3%A4", "http://xn--bcher-kva.example:8443/a?b=%C3%A4"),
        ("http://пример.рф", "http://xn--e1afmkfd.xn--p1ai"),
        ("http://[::1]:8000/", "http://[::1]:8000/"),
        ("https://Example.org./?", "https://Example.org./?"),
    ],
)
def test_a_host_is_written_as_dns_does(url: str, read: str) -> None:
    assert address(url) == read


@pytest.mark.parametrize(
    "url",
    ["example.org", "ftp://example.org/", "file:///etc/passwd", "http://", "http://me:word@x/",
     "http://a b/", "http://a\r\n/", "http://[a/", "http://a:99999/"],
)  # fmt: skip
def test_addresses_that_cannot_be_posted_to(url: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected http") as refused:
        address(url)
    assert "word" not in str(refused.value)
    assert address("https://example.org:8443/a?b=c") == "https://example.org:8443/a?b=c"
