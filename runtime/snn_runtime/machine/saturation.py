"""Whether sums of 8-bit products saturate on this processor, in ONNX Runtime's kernels.

x86 without VNNI multiplies uint8 by int8 and adds two products in 16 bits: 2 · 255 · 127 > 32767.
VNNI and ARM add in 32 bits.
"""

from collections.abc import Set
from functools import cache

from snn_runtime.machine.processor import flags
from snn_runtime.machine.system import System

_AVX512_VNNI = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"})


@cache
def saturates_here(system: System | None = None) -> bool:
    """Whether the processor at hand saturates."""
    system = system or System()
    return saturates(system.machine, flags(system))


def saturates(machine: str, instructions: Set[str]) -> bool:
    """Whether a processor saturates; one that is not known counts as one that does.

    Args:
        machine: As `uname -m` says.
        instructions: Names of instruction sets, as in /proc/cpuinfo.
    """
    if machine in ("aarch64", "arm64"):
        return False
    # ONNX Runtime prefers AVX-512 to AVX, and does so with VNNI only if all of these are there.
    if "avx512f" in instructions:
        return not instructions >= _AVX512_VNNI
    return "avx_vnni" not in instructions
