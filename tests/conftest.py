"""Settings for all tests."""

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Several processes test at once, and some train. Threads of OpenMP that wait for each other must
# not keep the cores from those they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A test may leave an engine in a circle that nobody has collected: a forked child that did would
# wait for threads that only its parent has.
os.register_at_fork(before=gc.collect)

# The same examples at every run: a failure is a failure for everybody, not for one in ten.
settings.register_profile(
    "derandomised",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("derandomised")

HANDLERS = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    """Commands that run in this process leave their handlers, which its children would inherit:
    a pool ends its own with SIGTERM, and of train-snn's handler the first one is only a wish."""
    yield
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


LONG = "emulated sanitized together commands examples imagenet outputs pipeline processes".split()
"""Files that take minutes, `test_….py`. They come first, the longest before all, so that no process
is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; within a file nothing moves."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))
