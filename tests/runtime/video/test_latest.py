"""The newest picture of a source that goes on by itself: never an old one, whatever happens."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from snn_runtime.errors import BusyError, InputError
from snn_runtime.video.latest import Frame, Latest, Pictures, Shown

opened: list[Latest] = []


class Source:
    """A source that shows what the test puts in, one connection after the other."""

    def __init__(self, *connections: Callable[[], Pictures]) -> None:
        self.connections = list(connections)
        self.pauses: list[float] = []

    def connect(self) -> Pictures:
        if not self.connections:
            raise BusyError("camera_lost", "nobody is there")
        return self.connections.pop(0)()

    def latest(self, *, timeout: float = 0.2, retries: int = 3) -> Latest:
        opened.append(
            Latest("cam", self.connect, timeout=timeout, retries=retries, sleep=self.pauses.append)
        )
        return opened[-1]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No thread goes on to read, and to say what it misses, in the tests that follow."""
    yield
    while opened:
        opened.pop().close()


def came(data: bytes) -> Shown:
    return Shown(data, time.time())


def shows(*pictures: bytes | None, over: bool = False) -> Callable[[], Pictures]:
    def connect() -> Pictures:
        for picture in pictures:
            yield None if picture is None else came(picture)
        return over

    return connect


def taken(latest: Latest) -> Frame:
    frame = latest.take(5)
    assert frame is not None
    return frame


def test_the_newest_wins_and_none_comes_twice() -> None:
    go, shown = threading.Event(), threading.Event()

    def connect() -> Pictures:
        yield came(b"first")
        go.wait(5)
        for n in range(2, 101):
            yield came(b"%d" % n)
        shown.set()
        while True:
            time.sleep(0.01)
            yield None

    latest = Source(connect).latest(timeout=60)
    assert taken(latest).data == b"first" and latest.take(0.05) is None
    go.set()
    assert shown.wait(5)
    frame = taken(latest)
    assert (frame.data, frame.number) == (b"100", 100)
    assert abs(frame.captured - time.time()) < 2
    assert latest.take(0.05) is None


def test_a_picture_that_nobody_took_in_time_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = threading.Event()

    def connect() -> Pictures:
        yield came(b"old")
        shown.set()
        while True:
            time.sleep(0.01)
            yield None

    latest = Source(connect).latest(timeout=60)
    assert shown.wait(5)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2)
    assert latest.take(0) is None


@pytest.mark.parametrize("shown", [b"the same", None])
def test_a_camera_that_freezes_is_lost_and_never_answers_again(shown: bytes | None) -> None:
    def frozen() -> Pictures:
        yield came(b"the same")
        while True:
            time.sleep(0.01)
            yield None if shown is None else came(shown)

    source = Source(frozen, frozen, shows(b"another", None))
    latest = source.latest(timeout=0.1)
    assert taken(latest).data == b"the same"
    assert taken(latest).data == b"another"  # the old one was shown at the second connection, too
    assert source.pauses[:2] == [1, 2]


def test_pauses_grow_and_the_end_is_said() -> None:
    source = Source(shows(b"a"))
    latest = source.latest(retries=7)
    assert taken(latest).data == b"a"
    with pytest.raises(BusyError, match="cam: is lost: nobody is there") as caught:
        latest.take(5)
    assert caught.value.exit_code == 75
    assert source.pauses == [1, 2, 4, 8, 16, 30, 30]


def test_attempts_count_anew_once_a_picture_has_come() -> None:
    source = Source(shows(b"a"), shows(), shows(b"b"), shows(), shows())
    latest = source.latest(retries=3)
    with pytest.raises(BusyError):
        while True:
            latest.take(5)
    assert source.pauses == [1, 2, 1, 2, 4]


def test_what_is_refused_is_not_tried_again() -> None:
    def connect() -> Pictures:
        raise InputError("unreachable", "the server answers 404")
        yield

    source = Source(connect)
    with pytest.raises(InputError, match="404"):
        source.latest().take(5)
    assert source.pauses == []


def test_one_picture_is_all() -> None:
    latest = Source(shows(b"a", over=True)).latest()
    while not latest.over:
        time.sleep(0.001)
    time.sleep(0.01)
    assert taken(latest).data == b"a" and latest.finished and latest.take(0) is None


def test_a_picture_that_was_old_when_it_came_is_none() -> None:
    def late() -> Pictures:
        yield Shown(b"old", time.time() - 2)
        yield came(b"new")
        n = 0
        while True:
            n += 1
            time.sleep(0.01)
            yield Shown(b"older %d" % n, time.time() - 9)

    latest = Source(late).latest(timeout=0.3, retries=0)
    assert taken(latest).data == b"new"
    with pytest.raises(BusyError, match="no picture in time for 0.3 s"):
        while latest.take(5) is None:
            pass
