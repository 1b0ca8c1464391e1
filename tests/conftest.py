"""Settings for all tests."""

import os

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
