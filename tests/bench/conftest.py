"""Settings for the tests of the benchmark."""

import pytest

from snn_bench import workloads


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is wanted here, and a fraction of the pictures show as much."""
    monkeypatch.setattr(workloads, "IMAGES", 16)
