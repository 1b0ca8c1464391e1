"""The floating point that a machine trains fastest in.

bfloat16 has the exponent of float32 and 8 significant bits. Where the processor multiplies in it,
convolutions are about twice as fast; elsewhere it is emulated, and slower than float32. Weights,
their updates and validation are in float32 either way.
"""

import torch

from snn_runtime.machine.processor import flags as instruction_sets
from snn_train.choices import Precision
from snn_train.parallel import Team

NATIVE = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instruction sets that multiply in bfloat16, in the words of /proc/cpuinfo; `bf16` is ARM's."""
NATIVE_CUDA = (8, 0)
"""Compute capability from which GPUs do (Ampere)."""


def fastest(device: torch.device, team: Team) -> Precision:
    """Return bfloat16 if the devices of all processes compute in it, else float32."""
    (lacking,) = team.any(not computes_bfloat16(device))
    return "float32" if lacking else "bfloat16"


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for it. Where the system does not tell, it has none."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= NATIVE_CUDA
    return not NATIVE.isdisjoint(instruction_sets())
