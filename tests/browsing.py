"""Pages in a real browser."""

import re
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page, expect

PATIENCE = 30_000
"""Milliseconds."""
OURS = r"(https?://(127\.0\.0\.1|localhost|board\.example):|blob:|data:)"
"""What a page may ask for. The browser is told that board.example is this machine."""


def opened(browser: Browser, **settings: Any) -> Iterator[Page]:
    """A page on which no script fails and nothing breaks the policy."""
    context = browser.new_context(**settings)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda message: faults.append(message.text) if "Content Security" in message.text else None,
    )
    page.on(
        "request",
        lambda request: None if re.match(OURS, request.url) else faults.append(request.url),
    )
    yield page
    context.close()
    assert faults == []
