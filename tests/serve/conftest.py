"""One server for all tests that leave it as it was, and a browser."""

from collections.abc import Iterator

import pytest
from browsing import browser, page
from serving import Running, running

__all__ = ["browser", "page"]


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with running() as started:
        yield started
