"""What this core can do at most: how fast its caches are read, how fast it multiplies bytes."""

from snn_bench.results import Peak
from snn_runtime.errors import DeviceError

BANDWIDTH_TRIALS = 3


def bandwidths(sizes: list[int]) -> dict[str, float] | str:
    """Bytes a nanosecond by size for one thread: the best of a few trials, it being a limit."""
    try:
        from snn_runtime.engines.event.library import bandwidth

        return {
            str(size): max(float(bandwidth(size)) for _ in range(BANDWIDTH_TRIALS))
            for size in sorted(set(sizes))
        }
    except (ImportError, DeviceError) as error:
        return f"not measured: {error}"


def peak() -> Peak:
    """What this core can do at most with 8-bit integers."""
    try:
        from snn_runtime.engines.event.library import peak as measured

        instructions, rate = measured()
    except (ImportError, DeviceError) as error:
        return Peak(f"not measured: {error}", None)
    return Peak(instructions, rate) if rate else Peak("not measured: no way known here", None)
