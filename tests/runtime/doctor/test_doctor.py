"""The command `snn-doctor`: on this machine for real, on others from fixtures.

The fixtures of boards, cards and containers were not recorded on such machines: their texts were
put together from public documentation. What they prove is that texts of that form are understood.
"""

import json
import os
import pwd
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from graphs import example

from snn_runtime import model_file as onnx_file
from snn_runtime.doctor import checks, cli, private
from snn_runtime.doctor.checks import Check, check, fastest
from snn_runtime.doctor.facts import ALWAYS, ON_A_JETSON, Facts, gather
from snn_runtime.doctor.report import Diagnosis, Examined
from snn_runtime.errors import ModelError, ResourceError, UsageError
from snn_runtime.machine import cores, system
from snn_runtime.machine.system import System, Unknown, output_of

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "snn_runtime.doctor.cli"]

ORIN_CPU = """\
processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1
"""
THOR_CPU = """\
processor\t: 0
Features\t: fp asimd aes asimdhp asimddp sve sve2 i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd83
"""
X86_CPU = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: 13th Gen Intel(R) Core(TM) i5-13600K
flags\t\t: fpu vme sse4_2 avx avx2 fma bmi2 avx_vnni
"""
MEMORY = "MemTotal:        7802684 kB\nMemFree:          100 kB\nMemAvailable:    5242880 kB\n"
MODE = "NVPM WARN: fan mode is not set!\nNV Power Mode: {}\n{}\n"
CLOCKS = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1190400\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
    "sys/class/devfreq/154c0000.nvdec/cur_freq": "1\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48250\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "47000\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",  # off: it has no temperature
}


def board(
    release: str, model: str, cuda: str, tensorrt: str, ubuntu: str, cpu: str = ORIN_CPU
) -> dict[str, str]:
    """Files of a Jetson."""
    library = "usr/lib/aarch64-linux-gnu"
    return {
        "etc/nv_tegra_release": f"# {release}, GCID: 38968081, BOARD: generic, EABI: aarch64, "
        "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n",
        "proc/device-tree/model": f"{model}\0",
        "proc/device-tree/serial-number": "1421123456789\0",
        "etc/hostname": "kitchen-orin\n",
        "etc/os-release": f'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu {ubuntu} LTS"\n',
        "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
        "proc/cpuinfo": "\n".join(cpu.replace(": 0\n", f": {i}\n", 1) for i in range(6)),
        "proc/meminfo": MEMORY,
        "proc/1/cgroup": "0::/init.scope\n",
        "dev/nvhost-gpu": "",
        "usr/local/cuda/version.json": json.dumps({"cuda": {"name": "CUDA SDK", "version": cuda}}),
        f"{library}/libnvinfer.so.{tensorrt}": "",
        f"{library}/libnvinfer.so.{tensorrt.split('.')[0]}": "",
        f"{library}/nvidia/libcuda.so.1": "",
        "usr/local/cuda/targets/aarch64-linux/lib/libcudart.so.12": "",
        f"packages/tensorrt-{tensorrt}.dist-info/METADATA": "Metadata-Version: 2.1\n"
        f"Name: tensorrt\nVersion: {tensorrt}\n",
        **CLOCKS,
    }


NANO = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
JETPACK_5 = board(
    "R35 (release), REVISION: 4.1", "NVIDIA Orin NX Developer Kit", "11.4.19", "8.5.2", "20.04.6"
)
JETPACK_60 = board("R36 (release), REVISION: 3.0", NANO, "12.2.12", "8.6.2", "22.04.4")
JETPACK_62 = board("R36 (release), REVISION: 4.3", NANO, "12.6.11", "10.3.0", "22.04.5")
JETPACK_7 = board(
    "R38 (release), REVISION: 2.0",
    "NVIDIA Jetson AGX Thor Developer Kit",
    "13.0.0",
    "10.13.3",
    "24.04.3",
    THOR_CPU,
)
SMI = {"nvidia-smi": "NVIDIA GeForce RTX 4070, 580.95.05, 12282, 8.9, 200.00\n"}
DESKTOP = {
    "etc/os-release": 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    "proc/sys/kernel/osrelease": "6.8.0-79-generic\n",
    "proc/cpuinfo": X86_CPU,
    "proc/meminfo": MEMORY,
    "proc/1/cgroup": "0::/init.scope\n",
    "dev/nvidia0": "",
    "dev/nvidiactl": "",
    "usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05": "",
    "packages/nvidia/cudnn/lib/libcudnn.so.9": "",
    "packages/tensorrt_libs/libnvinfer.so.10": "",
    "packages/onnxruntime-1.31.1.dist-info/METADATA": "Name: onnxruntime\nVersion: 1.31.1\n",
    "packages/onnxruntime_gpu-1.31.1.dist-info/METADATA": "Name: onnxruntime-gpu\n"
    "Version: 1.31.1\n",
}
LIMITED = {
    **DESKTOP,
    ".dockerenv": "",
    "proc/1/cgroup": "0::/\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/memory.max": "2147483648\n",
}
LIMITED_V1 = {
    **DESKTOP,
    "proc/1/cgroup": "4:memory:/docker/0123abc\n0::/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
}
LIMITED_NESTED = {
    **DESKTOP,
    ".dockerenv": "",
    "proc/1/cgroup": "0::/\n",
    "proc/self/cgroup": "0::/jobs/one\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
    "sys/fs/cgroup/memory.max": "max\n",
    "sys/fs/cgroup/jobs/cpu.max": "250000 100000\n",
    "sys/fs/cgroup/jobs/memory.max": "1073741824\n",
    "sys/fs/cgroup/jobs/one/cpu.max": "max 100000\n",
    "sys/fs/cgroup/jobs/one/memory.max": "268435456\n",
}

Machines = Callable[..., System]


@pytest.fixture
def machine(tmp_path: Path) -> Machines:
    """Lay a machine's files under a root and answer its commands."""

    def make(
        files: Mapping[str, str], commands: Mapping[str, str] | None = None, arch: str = "aarch64"
    ) -> System:
        root = tmp_path / "root"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

        def run(command: Sequence[str]) -> str:
            if "onnxruntime" in command[-1]:
                return "CUDAExecutionProvider CPUExecutionProvider\n"
            try:
                return (commands or {})[command[0]]
            except KeyError:
                raise Unknown(f"{command[0]} is not here") from None

        return System(root, run, arch, allowed=6, packages=(root / "packages",))

    return make


@pytest.mark.parametrize(
    ("files", "mode", "expected"),
    [
        (
            JETPACK_5,
            "MODE_15W",
            ("5", "35.4.1", "11.4.19", "8.5.2", "NVIDIA Orin NX Developer Kit"),
        ),
        (JETPACK_60, "15W", ("6.0", "36.3.0", "12.2.12", "8.6.2", NANO)),
        (JETPACK_62, "MAXN_SUPER", ("6.1 or 6.2", "36.4.3", "12.6.11", "10.3.0", NANO)),
        (
            JETPACK_7,
            "120W",
            ("7.0 or 7.1", "38.2.0", "13.0.0", "10.13.3", "NVIDIA Jetson AGX Thor Developer Kit"),
        ),
    ],
    ids=["JetPack 5", "JetPack 6.0", "JetPack 6.2", "JetPack 7"],
)
def test_a_jetson(
    files: dict[str, str], mode: str, expected: tuple[str, ...], machine: Machines
) -> None:
    facts = gather(machine(files, {"nvpmodel": MODE.format(mode, 0)}))
    found, gpu = facts.values["jetson"], facts.values["gpu"]
    names = (found["jetpack"], found["l4t"], gpu["cuda"])
    packages = facts.values["software"]["packages"]
    assert isinstance(packages, dict)
    assert (*names, packages["tensorrt"], found["board"]) == expected
    assert found["power_mode"] == mode and facts.on_jetson
    assert found["gpu_megahertz"] == {"min": 306, "now": 306, "max": 624}
    assert found["celsius"] == {"cpu-thermal": 48.25, "gpu-thermal": 47.0}
    assert gpu["present"] is True
    assert gpu["cuda_libraries"] == ["libcuda.so.1", "libcudart.so.12"]
    assert gpu["tensorrt_libraries"] == sorted(
        {f"libnvinfer.so.{expected[3]}", f"libnvinfer.so.{expected[3].split('.')[0]}"}
    )
    assert facts.values["cpu"]["cores"] == 6
    assert facts.values["cpu"]["megahertz"] == {"min": 729, "now": 1190, "max": 1510}
    assert facts.unknown["gpu.cards"] == "nvidia-smi is not here"


def test_processors_of_arm_by_number(machine: Machines) -> None:
    orin = gather(machine(JETPACK_62)).values["cpu"]
    assert (orin["model"], orin["instruction_sets"]) == ("Cortex-A78AE", ["asimd", "asimddp"])
    thor = gather(machine(JETPACK_7)).values["cpu"]
    assert thor["model"] == "Neoverse-V3AE"
    assert thor["instruction_sets"] == ["asimd", "asimddp", "i8mm", "sve"]
    strange = {**JETPACK_7, "proc/cpuinfo": THOR_CPU.replace("0xd83", "0xfff")}
    assert gather(machine(strange)).values["cpu"]["model"] == (
        "ARM, implementer and part 0x41 0xfff"
    )


def test_a_jetson_s_container_without_the_release_file(machine: Machines) -> None:
    files = {k: v for k, v in JETPACK_62.items() if k != "etc/nv_tegra_release"}
    facts = gather(machine(files))
    assert facts.values["jetson"]["board"] == NANO
    assert facts.unknown["jetson.l4t"] == "there is no /etc/nv_tegra_release"
    assert facts.unknown["jetson.power_mode"] == "nvpmodel is not here"


@pytest.mark.parametrize(
    ("files", "key", "why"),
    [
        ({"etc/nv_tegra_release": "odd"}, "jetson.l4t", "/etc/nv_tegra_release begins with 'odd'"),
        (
            {"etc/nv_tegra_release": "# R99 (release), REVISION: 1.0"},
            "jetson.jetpack",
            "L4T 99.1.0 is in no table here",
        ),
        ({"usr/local/cuda/version.json": "{}"}, "gpu.cuda", "version.json names no version"),
        ({"proc/cpuinfo": "nothing"}, "cpu.model", "/proc/cpuinfo names no processor"),
        ({"proc/meminfo": "nothing"}, "memory.total_bytes", "/proc/meminfo has no MemTotal"),
        ({"etc/os-release": ""}, "system.os", "/etc/os-release has no PRETTY_NAME"),
        ({"sys/fs/cgroup/cpu.max": "much"}, "cpu.core_limit", "not understood: "),
        (
            {"sys/class/devfreq/17000000.gpu/max_freq": "fast"},
            "jetson.gpu_megahertz",
            "not understood: ",
        ),
    ],
)
def test_odd_files_are_unknown_facts_and_disturb_no_others(
    files: dict[str, str], key: str, why: str, machine: Machines
) -> None:
    facts = gather(machine(JETPACK_62 | files))
    assert why in facts.unknown[key]
    assert facts.values["software"]["onnxruntime_providers"]


def test_a_mode_that_only_root_is_told(machine: Machines) -> None:
    facts = gather(machine(JETPACK_62, {"nvpmodel": "NVPM ERROR: permission\n"}))
    assert facts.unknown["jetson.power_mode"].endswith("it may want sudo")


def test_a_desktop_with_a_card(machine: Machines) -> None:
    facts = gather(machine(DESKTOP, SMI, "x86_64"))
    assert not facts.on_jetson
    assert facts.values["gpu"]["cards"] == [
        {
            "name": "NVIDIA GeForce RTX 4070",
            "driver": "580.95.05",
            "memory_mib": "12282",
            "compute_capability": "8.9",
            "power_limit_watts": "200.00",
        }
    ]
    assert facts.values["gpu"]["cuda_libraries"] == ["libcuda.so.580.95.05", "libcudnn.so.9"]
    assert facts.values["gpu"]["tensorrt_libraries"] == ["libnvinfer.so.10"]
    assert facts.values["cpu"]["instruction_sets"] == ["avx2", "avx_vnni"]
    assert facts.values["software"]["onnxruntime_wheel"] == "onnxruntime and onnxruntime-gpu"
    assert facts.values["system"]["container"] is False
    assert facts.values["cpu"]["core_limit"] is facts.values["memory"]["limit_bytes"] is None
    assert "cpu.core_limit" not in facts.unknown


def test_an_nvidia_smi_that_answers_otherwise(machine: Machines) -> None:
    facts = gather(machine(DESKTOP, {"nvidia-smi": "No devices were found\n"}))
    assert facts.unknown["gpu.cards"] == "nvidia-smi answers in an unknown form"


@pytest.mark.parametrize(
    ("files", "cores", "usable", "memory"),
    [(LIMITED, 1.5, 2, 2**31), (LIMITED_V1, 0.5, 1, 2**30), (LIMITED_NESTED, 2.5, 3, 2**28)],
)
def test_a_container_s_limits(
    files: dict[str, str], cores: float, usable: int, memory: int, machine: Machines
) -> None:
    facts = gather(machine(files, arch="x86_64")).values
    assert facts["system"]["container"] is True
    assert (facts["cpu"]["core_limit"], facts["memory"]["limit_bytes"]) == (cores, memory)
    assert facts["cpu"]["usable_cores"] == usable


def test_a_container_without_limits(machine: Machines) -> None:
    unlimited = {"sys/fs/cgroup/cpu.max": "max 100000", "sys/fs/cgroup/memory.max": "max"}
    facts = gather(machine(unlimited)).values
    assert facts["cpu"]["core_limit"] is facts["memory"]["limit_bytes"] is None


def test_commands_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output_of(["echo", "here"]) == "here\n"
    monkeypatch.setattr(system, "PATIENCE", 0.2)
    for command, why in {
        ("no-such-command",): "no-such-command is not here",
        ("sleep", "9"): "sleep does not answer within 0.2 s",
        ("sh", "-c", "echo broken >&2; exit 3"): "sh fails (code 3): broken",
        ("false",): "false fails (code 1): without a word",
        ("/etc/hostname",): "hostname does not start: ",
    }.items():
        with pytest.raises(Unknown) as caught:
            output_of(command)
        assert str(caught.value).startswith(why)


# Engines

FAKES = """
import os, signal, sys, time
import numpy as np
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import DeviceError

def crashing(graph, **_):
    os.kill(os.getpid(), signal.SIGSEGV)

def hanging(graph, **_):
    time.sleep(600)

def raising(graph, **_):
    raise RuntimeError("no such thing")

def refusing(graph, **_):
    raise DeviceError("backend_unavailable", "it is not here")

class Lying(OrtBackend):
    def spikes(self, images):
        spikes = super().spikes(images)
        first = next(iter(spikes))
        spikes[first] = ~spikes[first].astype(bool)
        return spikes

class Talking(OrtBackend):
    def run(self, images):
        os.write(1, b"nonsense")
        return super().run(images)
"""


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put fakes in the place of engines, in the children too."""

    def put(**fakes: str) -> None:
        (tmp_path / "fakes.py").write_text(FAKES)
        keys = {"event": ("event", "cpu"), "ort": ("onnxruntime", "cpu")}
        table = {keys[name]: ("fakes", fake) for name, fake in fakes.items()}
        (tmp_path / "child.py").write_text(
            textwrap.dedent(f"""
                import sys
                sys.path.insert(0, {str(tmp_path)!r})
                from snn_runtime.engines import choice
                choice.BACKENDS.clear()
                choice.BACKENDS.update({table!r})
                from snn_runtime.doctor import probe
                sys.exit(probe.main())
            """)
        )
        monkeypatch.setattr(checks, "COMMAND", (sys.executable, str(tmp_path / "child.py")))
        monkeypatch.setattr(checks, "BACKENDS", table)

    return put


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx_file.write(example(), path)
    return path


def test_a_child_that_crashes_hangs_or_breaks(engines: Callable[..., None], model: Path) -> None:
    for fake, patience, code, why in [
        ("crashing", 300, "crashed", "its process is ended by SIGSEGV"),
        ("hanging", 2, "hangs", "it does not answer within 2 s"),
        ("raising", 300, "crashed", "it broke down: RuntimeError: no such thing"),
        ("refusing", 300, "backend_unavailable", "it is not here"),
    ]:
        engines(ort=fake)
        start = time.monotonic()
        found = check(model, "onnxruntime", "cpu", patience)
        assert found == Check("onnxruntime", "cpu", False, why, code)
        assert time.monotonic() - start < 300  # the child would sleep for 600


def test_what_libraries_print_is_no_answer(engines: Callable[..., None], model: Path) -> None:
    engines(ort="Talking")
    found = check(model, "onnxruntime", "cpu", 300)
    assert found.works and found.self_test == "passed" and (found.runs or 0) >= 5


def test_one_that_crashes_leaves_the_others_and_the_code_0(
    engines: Callable[..., None], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines(event="crashing", ort="OrtBackend")
    assert cli.run(cli.parse_args(["--model", str(model)])) == 0
    out = capsys.readouterr().out
    assert "event on cpu            no: its process is ended by SIGSEGV" in out
    assert "onnxruntime on cpu      yes, integer, " in out
    assert out.endswith("one picture at a time: snn-infer --backend onnxruntime\n")
    assert str(model) not in out


def test_a_lie_ends_with_9(
    engines: Callable[..., None], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines(event="Lying", ort="OrtBackend")
    assert cli.run(cli.parse_args(["--model", str(model), "--json"])) == 9
    found = json.loads(capsys.readouterr().out)
    liar, honest = found["engines"]
    assert (liar["works"], liar["self_test"], honest["self_test"]) == (True, "failed", "passed")
    assert "self-test failed on onnxruntime" in liar["reason"]
    assert found["fastest"]["flags"] == "--backend onnxruntime" and found["exit_code"] == 9


def test_a_false_golden_hash_is_the_file_s_fault(
    engines: Callable[..., None], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines(event="OrtBackend")
    model.write_bytes(onnx_file.to_bytes(example(), golden="0" * 64))
    assert cli.run(cli.parse_args(["--model", str(model)])) == 9
    out = capsys.readouterr().out
    assert "self-test failed: the golden hash in the file belongs to other spikes" in out
    assert out.endswith(
        "The engines are right, the model's golden hash is wrong: export the model again.\n"
    )
    engines(event="OrtBackend", ort="Lying")
    assert cli.run(cli.parse_args(["--model", str(model)])) == 9
    assert "that engine's answers are wrong here" in capsys.readouterr().out


def test_none_that_works_ends_with_6(
    engines: Callable[..., None], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines(event="refusing", ort="crashing")
    assert cli.run(cli.parse_args(["--model", str(model)])) == 6
    assert "No engine works here" in capsys.readouterr().out


def test_the_fastest_has_proven_itself() -> None:
    def timed(backend: str, device: str, milliseconds: float, self_test: str = "passed") -> Check:
        return Check(backend, device, True, self_test=self_test, milliseconds=milliseconds)

    found = [
        timed("event", "cpu", 2.0),
        timed("onnxruntime", "tensorrt", 0.5),
        timed("tensorrt", "cuda", 0.1, "failed"),
        Check("onnxruntime", "cuda", False, "it is not here"),
    ]
    best = fastest(found)
    assert best is not None and best.flags == "--backend onnxruntime --device tensorrt"
    assert fastest(found[2:]) is None
    assert [item.flags for item in found] == [
        "--backend event",
        "--backend onnxruntime --device tensorrt",
        "--backend tensorrt",
        "--backend onnxruntime --device cuda",
    ]


# Reports


def report(facts: Facts, *found: Check) -> Diagnosis:
    return Diagnosis(
        "0.1.0",
        Examined("bundled", "ab" * 32, "cd" * 32, "32x32", 1_700_000, True, 8),
        facts,
        found,
    )


def test_names_and_homes_are_taken_out() -> None:
    names = ("kitchen-orin", "/srv/people/joe", "joe")
    text = {
        "a": "/srv/people/joe/nets/x.onnx: no such file",
        "b": ["'/home/ann/.cache/iir-snn': full", "/root/x, joe@kitchen-orin"],
        "joe": {"kept": 3, "none": None, "d": "joel likes /homely /rooted joe."},
    }
    assert private.without(text, names) == {
        "a": "(private): no such file",
        "b": ["'(private)': full", "(private), (private)@(private)"],
        "joe": {"kept": 3, "none": None, "d": "joel likes /homely /rooted (private)."},
    }
    assert private.without("root and /", ()) == "root and /"


def test_names_are_those_of_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/people/joe")
    monkeypatch.setenv("USER", "joe")
    monkeypatch.setenv("SUDO_USER", "ann")
    names = private.names_here()
    assert {"/srv/people/joe", "joe", "ann", os.uname().nodename} <= set(names)
    assert not {"", "/", "root"} & set(names)

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert "joe" in private.names_here()


def test_a_user_may_be_called_as_an_engine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or as a fact is: its name is taken out of sentences alone, and where it tells who it is."""
    for name, value in {"USER": "cuda", "LOGNAME": "bundled", "SUDO_USER": "Orin"}.items():
        monkeypatch.setenv(name, value)
    facts = Facts({"gpu": {"cards": "Orin"}}, {"gpu.cuda": "no answer for Orin"})
    install = "pip install 'iir-snn[cuda]' for bundled"
    found = report(facts, Check("event", "cuda", False, install, "crashed")).as_json()
    (engine,) = found["engines"]
    assert (engine["backend"], engine["device"]) == ("event", "cuda")
    assert found["model"]["name"] == "bundled" and found["facts"]["gpu"]["cards"] == "Orin"
    assert found["unknown"] == {"gpu.cuda": "no answer for (private)"}
    assert engine["flags"] == "--backend event --device cuda"
    assert engine["reason"] == "pip install 'iir-snn[cuda]' for (private)"


def on_a_board(
    machine: Machines, engines: Callable[..., None], monkeypatch: pytest.MonkeyPatch, where: Path
) -> None:
    board = machine(JETPACK_62, {"nvpmodel": MODE.format("MAXN", 0)})
    monkeypatch.setattr(system, "System", lambda: board)
    monkeypatch.setenv("USER", "joe")
    monkeypatch.setenv("HOME", "/home/joe")
    engines(event="refusing", ort="OrtBackend")
    where.mkdir()
    monkeypatch.chdir(where)


def test_on_a_jetson_a_report_file_is_written_with_nothing_private(
    machine: Machines,
    engines: Callable[..., None],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_a_board(machine, engines, monkeypatch, tmp_path / "here")
    assert cli.run(cli.parse_args(["--model", str(model)])) == 0
    out, err = capsys.readouterr()
    assert err.startswith("snn-doctor: report written to snn-doctor-report.json; ")
    assert f"  board                   {NANO}\n" in out
    assert "  celsius                 cpu-thermal 48.25, gpu-thermal 47.0\n" in out
    written = (tmp_path / "here" / "snn-doctor-report.json").read_text("ascii")
    found = json.loads(written)
    assert found["facts"]["jetson"]["jetpack"] == "6.1 or 6.2"
    assert found["model"]["digest"] == example().digest()
    assert [engine["works"] for engine in found["engines"]] == [False, True]
    for secret in ("1421123456789", "kitchen-orin", "joe", str(tmp_path), os.uname().nodename):
        assert not re.search(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", written + out), secret


def test_a_report_that_cannot_be_written(
    machine: Machines,
    engines: Callable[..., None],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_a_board(machine, engines, monkeypatch, tmp_path / "here")
    monkeypatch.setattr(cli, "REPORT", Path("no/such/folder/report.json"))
    assert cli.run(cli.parse_args(["--model", str(model)])) == 0
    assert "warning: no report file, name one with --output: " in capsys.readouterr().err
    arguments = ["--model", str(model), "--output", str(tmp_path / "no" / "report.json")]
    with pytest.raises(ResourceError, match="cannot write"):
        cli.run(cli.parse_args(arguments))
    assert cli.run(cli.parse_args([*arguments[:-1], str(tmp_path / "report.json")])) == 0
    assert json.loads((tmp_path / "report.json").read_bytes())["schema"] == 1


def test_the_names_of_facts_are_stable(machine: Machines) -> None:
    """Programs read them: names may be added here, not changed."""
    assert {group: list(facts) for group, facts in (ALWAYS | ON_A_JETSON).items()} == {
        "system": ["os", "kernel", "machine", "libc", "container", "python"],
        "cpu": [
            "model",
            "instruction_sets",
            "cores",
            "usable_cores",
            "core_limit",
            "governor",
            "megahertz",
        ],
        "memory": ["total_bytes", "available_bytes", "limit_bytes"],
        "software": ["packages", "event_engine", "onnxruntime_wheel", "onnxruntime_providers"],
        "gpu": ["present", "cards", "cuda", "cuda_libraries", "tensorrt_libraries"],
        "jetson": ["board", "l4t", "jetpack", "power_mode", "gpu_megahertz", "celsius"],
    }
    found = report(gather(machine(JETPACK_62)), Check("event", "cpu", False, "no")).as_json()
    assert list(found) == [
        "schema",
        "version",
        "date",
        "model",
        "facts",
        "unknown",
        "engines",
        "fastest",
        "exit_code",
    ]
    assert list(found["model"]) == [
        "name",
        "digest",
        "golden",
        "size",
        "parameters",
        "int8",
        "weight_bits",
    ]
    assert list(found["engines"][0]) == [
        "backend",
        "device",
        "works",
        "reason",
        "code",
        "details",
        "self_test",
        "load_seconds",
        "milliseconds",
        "runs",
        "flags",
    ]


def test_what_people_read(machine: Machines) -> None:
    facts = gather(machine(DESKTOP, SMI, "x86_64"))
    works = Check(
        "onnxruntime", "cuda", True, None, None, "cuda:0, float32", "passed", 1.234, 0.5, 99
    )
    failed = replace(works, backend="event", device="cpu", self_test="failed", reason="one spike")
    text = report(facts, works, failed).as_text()
    assert "  onnxruntime on cuda     yes, cuda:0, float32; self-test passed; 0.5 ms a pic" in text
    assert "self-test failed: one spike; 0.5 ms a picture (median of 99); ready in 1.2 s" in text
    assert text.endswith("Please report it.\n")
    assert "name NVIDIA GeForce RTX 4070, driver 580.95.05, memory_mib 12282" in text
    assert (
        "  total                   7.4 GiB\n" in text and "  limit                   none\n" in text
    )
    assert "unknown: there is no /usr/local/cuda/version.json" in text


# The command on this machine


def run_command(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtime"), **settings.pop("env", {})}
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        **settings,
    )


def test_this_machine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = run_command("--json", cwd=home, env={"HOME": str(home), "USER": "somebody-here"})
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert not list(home.iterdir())  # read only, away from a Jetson
    by_name = {(e["backend"], e["device"]): e for e in found["engines"]}
    for name in ("event", "onnxruntime"):
        engine = by_name[(name, "cpu")]
        assert engine["works"] and engine["self_test"] == "passed" and engine["runs"] >= 5
    assert found["fastest"]["milliseconds"] == min(
        e["milliseconds"] for e in found["engines"] if e["works"]
    )
    facts = found["facts"]
    assert facts["software"]["onnxruntime_providers"] == onnxruntime.get_available_providers()
    assert facts["cpu"]["usable_cores"] == cores.usable()
    assert facts["system"]["kernel"] == os.uname().release
    assert facts["software"]["event_engine"] is True
    for name in ("somebody-here", str(home), os.uname().nodename):
        assert not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_as_a_user_who_has_nothing() -> None:
    try:
        somebody: dict[str, Any] = {"user": 12345, "group": 12345, "extra_groups": []}
        done = run_command(**somebody, cwd="/", env={"HOME": "/nowhere"})
    except PermissionError:
        pytest.skip("this Python is in a folder that only root may enter")
    assert (done.returncode, done.stderr) == (0, "")
    assert "self-test passed" in done.stdout


def test_files_that_may_not_be_read(machine: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: str, **__: str) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    board = machine(JETPACK_62)
    monkeypatch.setattr(Path, "read_text", refuse)
    facts = gather(board)
    assert facts.unknown["cpu.model"] == "/proc/cpuinfo: Permission denied"
    assert facts.unknown["jetson.celsius"] == "no readable zone in /sys/class/thermal"


def test_help_and_flags_that_cannot_be_obeyed() -> None:
    done = run_command("--help")
    assert done.returncode == 0 and "snn-doctor --model model.onnx" in done.stdout
    for arguments in (["--timeout", "0"], ["--model"], ["photo.jpg"]):
        with pytest.raises(UsageError):
            cli.parse_args(arguments)
    with pytest.raises(ModelError, match="no such file"):
        cli.run(cli.parse_args(["--model", "missing.onnx"]))
