"""How many threads torch computes with, which its sums depend on to the last bit."""

import torch

from snn_runtime.machine.cores import usable


def compute_with(wanted: int | None, recorded: int | None = None) -> int:
    """Let torch and the decoders of pictures use so many threads; return the number.

    Args:
        wanted: The requested number; None is what was `recorded`.
        recorded: What a run began with, which it has to keep to go on to the same bits; None is
            torch's own choice, but no more than `cores.usable`: torch sees no quota.
    """
    count = wanted or recorded or min(torch.get_num_threads(), usable())
    torch.set_num_threads(count)
    return count


def crowded(count: int) -> str | None:
    """A message, where a run goes on with more threads than there are cores."""
    here = usable()
    if count <= here:
        return None
    return (
        f"going on with {count} threads, as it began, for the same bits, where {here} would be "
        f"fast (--threads {here})"
    )
