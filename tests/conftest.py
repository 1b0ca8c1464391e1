"""Settings for all tests."""

from hypothesis import HealthCheck, settings

# The same examples at every run: a failure is a failure for everybody, not for one in ten.
settings.register_profile(
    "derandomised",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("derandomised")
