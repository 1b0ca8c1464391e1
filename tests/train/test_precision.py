"""bfloat16 by default where the machine computes in it, and nowhere else."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snn_runtime.machine.processor import flags
from snn_train import api, checkpoint, precision
from snn_train.parallel import ALONE, Team
from snn_train.precision import computes_bfloat16, fastest
from snn_train.recipe import Recipe
from snn_train.stage import Stage

if TYPE_CHECKING:
    from train.conftest import Answer

CPU = torch.device("cpu")
ZEN3, ZEN5 = "fma sse4_2 avx2 vaes", "avx2 avx512f avx512_vnni avx512_bf16"
NEOVERSE_N1, NEOVERSE_V1 = "fp asimd asimdhp asimddp", "asimd asimddp sve i8mm bf16"


def machine_with(monkeypatch: pytest.MonkeyPatch, sets: str) -> None:
    monkeypatch.setattr(precision, "instruction_sets", lambda: frozenset(sets.split()))


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (ZEN3, "float32"),
        ("avx2 avx512f avx512bw avx512_vnni", "float32"),  # Ice Lake
        (ZEN5, "bfloat16"),
        ("avx512f amx_bf16 amx_int8", "bfloat16"),
        (NEOVERSE_N1, "float32"),
        (NEOVERSE_V1, "bfloat16"),
        ("", "float32"),  # a system that does not tell
    ],
)
def test_processors(monkeypatch: pytest.MonkeyPatch, sets: str, expected: str) -> None:
    machine_with(monkeypatch, sets)
    assert fastest(CPU, ALONE) == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_gpus(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    machine_with(monkeypatch, ZEN3)
    assert computes_bfloat16(torch.device("cuda", 1)) is expected


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo here")
def test_this_processor() -> None:
    """As torch, which asks the processor itself where it is x86."""
    assert flags()
    if platform.machine() == "x86_64":
        asked = torch.cpu._is_avx512_bf16_supported() or "amx_bf16" in flags()
        assert computes_bfloat16(CPU) == asked


def test_processes_agree_on_what_all_of_them_have(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mixed(Team):
        def any(self, *answers: bool) -> tuple[bool, ...]:
            return (True,) * len(answers)  # another one's processor lacks it

    machine_with(monkeypatch, ZEN5)
    assert fastest(CPU, Mixed(0, 2)) == "float32"


@pytest.fixture
def begun(
    train_snn: "Callable[..., Answer]", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., str]:
    """The precision of a run with these flags, and what its first line says; it does not train."""
    monkeypatch.setattr(api, "train_run", lambda *_: None)

    def begin(*flags: object) -> str:
        answer = train_snn(*flags, "--format", "json")
        assert answer.code == 0, answer.err
        settings: Any = checkpoint.load(tmp_path / "run" / "latest.pt")["settings"]
        assert f", {settings['precision']}, " in answer.out.splitlines()[0]
        return str(settings["precision"])

    return begin


@pytest.mark.parametrize("sets", [ZEN3, ZEN5])
@pytest.mark.parametrize("flags", [[], ["--precision", "auto"], ["--precision", "float32"],
                                   ["--precision", "bfloat16"]])  # fmt: skip
def test_what_is_asked_for_is_obeyed_and_a_run_keeps_it(
    begun: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    sets: str,
    flags: list[str],
) -> None:
    machine_with(monkeypatch, sets)
    chosen = begun("--data", "digits", "--out", tmp_path / "run", *flags)
    auto = {ZEN3: "float32", ZEN5: "bfloat16"}[sets]
    assert chosen == (flags[1] if flags and flags[1] != "auto" else auto)
    machine_with(monkeypatch, {ZEN3: ZEN5, ZEN5: ZEN3}[sets])
    assert begun("--resume", tmp_path / "run") == chosen


def test_a_recipe_of_ones_own_says_it_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(api, "train_run", lambda *_: None)
    machine_with(monkeypatch, ZEN5)
    own = Recipe((Stage(0, 1), Stage(1, 1)), network="vgg5", width=0.1)
    assert api.train("digits", own, tmp_path / "a").recipe.precision == "float32"
    run = api.train("digits", own, tmp_path / "b", precision="auto")
    assert run.recipe.precision == "bfloat16"
