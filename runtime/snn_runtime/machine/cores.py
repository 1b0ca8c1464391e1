"""How many threads compute, if nobody says: as many as this process has processors' worth of time.

An affinity says which processors it may use; the quota of a control group says how much time it
gets on them, which is how containers are limited. More threads than that use it up together and
are all stopped for the rest of every tenth of a second.
"""

import operator
from fractions import Fraction

from snn_runtime.errors import UsageError
from snn_runtime.machine.control_groups import folders
from snn_runtime.machine.system import System, Unknown

MOST = 1024
"""Threads that anybody may ask for."""


def usable(system: System | None = None) -> int:
    """min(affinity, quota rounded up), and at least 1."""
    system = system or System()
    try:
        granted = quota(system)
    except ValueError:  # nothing that a kernel writes
        granted = None
    limit = system.allowed if granted is None else -(-granted.numerator // granted.denominator)
    return max(1, min(system.allowed, limit))


def quota(system: System) -> Fraction | None:
    """Processors' worth of time that the tightest control group grants; None where none limits it.

    Raises:
        ValueError: A limit is no number.
    """
    limits = [_limit(system, folder) for folder in folders(system, "cpu")]
    return min((limit for limit in limits if limit is not None), default=None)


def thread_count(threads: int | None) -> int:
    """Return how many threads to use: None is `usable`.

    Raises:
        UsageError: `bad_threads`: no whole number from 1 to `MOST`.
    """
    if threads is None:
        return usable()
    try:
        count = operator.index(threads)
    except TypeError:
        count = 0
    if not 1 <= count <= MOST:
        raise UsageError(
            "bad_threads", f"threads is {threads!r}, expected a whole number from 1 to {MOST}"
        )
    return count


def _limit(system: System, folder: str) -> Fraction | None:
    """What one group grants; version 2 keeps it in one file, version 1 in two."""
    try:
        if system.exists(f"{folder}/cpu.max"):
            granted, period = system.read(f"{folder}/cpu.max").split()
        else:
            granted = system.read(f"{folder}/cpu.cfs_quota_us")
            period = system.read(f"{folder}/cpu.cfs_period_us")
    except Unknown:
        return None
    if granted == "max" or int(granted) <= 0 or int(period) <= 0:  # version 1 says -1
        return None
    return Fraction(int(granted), int(period))
