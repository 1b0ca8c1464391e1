"""Which processors add 8-bit products exactly; this one is among them or not."""

from pathlib import Path

import pytest

from snn_runtime.machine.saturation import saturates, saturates_here
from snn_runtime.machine.system import System

WIDE = ("avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl")


@pytest.mark.parametrize(
    ("machine", "present", "exact"),
    [
        ("x86_64", (*WIDE, "avx512_vnni"), True),
        ("x86_64", (*WIDE, "avx512_vnni", "avx_vnni"), True),
        ("x86_64", ("avx2", "avx_vnni"), True),
        ("x86_64", WIDE, False),
        ("x86_64", ("avx2", "avx512f", "avx512_vnni"), False),
        ("x86_64", ("avx2", "fma"), False),
        ("x86_64", ("sse", "avx2"), False),
        ("x86_64", ("avx2", "avx512_vnni_of_the_future"), False),
        ("x86_64", (), False),
        ("aarch64", (), True),
        ("aarch64", ("asimd",), True),
        ("riscv64", (), False),
    ],
)
def test_which_processors_saturate(machine: str, present: tuple[str, ...], exact: bool) -> None:
    assert saturates(machine, {"fpu", "sse2", *present}) is not exact


@pytest.mark.parametrize(
    ("content", "exact"),
    [(None, False), ("flags\t: avx2\n", False), ("flags\t\t: fpu avx_vnni\n", True)],
)
def test_an_unknown_processor_is_not_trusted(
    content: str | None, exact: bool, tmp_path: Path
) -> None:
    info = tmp_path / "proc" / "cpuinfo"
    info.parent.mkdir()
    if content is not None:
        info.write_text(f"processor\t: 0\n{content}bogomips: 1\n")
    assert saturates_here(System(tmp_path, machine="x86_64")) is not exact
