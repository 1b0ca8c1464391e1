"""What tests of the runtime share."""

import pytest

from snn_runtime.video import latest


@pytest.fixture
def at_leisure(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses; and on a busy machine a picture may wait longer than a second for its turn."""
    monkeypatch.setattr(latest, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(latest, "EXPIRES", 60.0)
