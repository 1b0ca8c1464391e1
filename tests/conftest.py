"""Settings for all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Several processes test at once, and some train. Threads of OpenMP that wait for each other must
# not keep the cores from those they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The same examples at every run: a failure is a failure for everybody, not for one in ten.
settings.register_profile(
    "derandomised",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("derandomised")

LONG = ("sanitized", "together", "kernels", "objects", "pipeline", "commands", "processes")
"""Files that take minutes, `test_….py`. They come first, so that no process is left alone with one
at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; within a file nothing moves."""
    names = {f"test_{name}.py" for name in LONG}
    items.sort(key=lambda item: item.path.name not in names)
