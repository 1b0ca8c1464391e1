"""How much memory this process has, as the system counts it."""

from collections.abc import Callable
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes.

    Not `ru_maxrss` where there is a choice: a child begins with its parent's.
    """
    try:
        return _status("VmHWM")
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def begin_peak_anew() -> int | None:
    """Let the peak begin at what is resident now, and return that; None where it cannot be done."""
    try:
        RESET.write_text("5")
        return _status("VmRSS")
    except (OSError, StopIteration):
        return None


def growth(call: Callable[[int], object], times: int) -> int | None:
    """What some calls add at most to what is resident, in bytes.

    What loading has freed is taken first, so that little may be nothing.
    """
    before = begin_peak_anew()
    for number in range(times):
        call(number)
    return None if before is None else peak_memory() - before


def _status(name: str) -> int:
    """Bytes, which the file gives in KiB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
