"""Operating system, Python and packages."""

import os
import platform
import re

from snn_runtime.engines.event.library import LIBRARY
from snn_runtime.machine.children import python_command
from snn_runtime.machine.packages import installed
from snn_runtime.machine.system import System, Unknown
from snn_runtime.machine.wheels import ORT_WHEELS

_SAY_PROVIDERS = "import snn_runtime, onnxruntime; print(*onnxruntime.get_available_providers())"
"""Through our package, which keeps ONNX Runtime from reporting its use."""
_CONTAINERS = re.compile("docker|containerd|kubepods|libpod|lxc")


def operating_system(system: System) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', system.read("etc/os-release"), re.MULTILINE)
    if not found:
        raise Unknown("/etc/os-release has no PRETTY_NAME")
    return found[1]


def kernel(system: System) -> str:
    return system.read("proc/sys/kernel/osrelease")


def machine(system: System) -> str:
    return system.machine


def libc(system: System) -> str:
    del system  # of this very process
    name, version = platform.libc_ver()
    return f"{name} {version}".strip() or "not glibc"


def container(system: System) -> bool:
    if any(system.exists(mark) for mark in (".dockerenv", "run/.containerenv")):
        return True
    return bool(_CONTAINERS.search(system.read("proc/1/cgroup")))


def python(system: System) -> str:
    del system  # of this very process
    return platform.python_version()


def wheel(system: System) -> str:
    """Which onnxruntime it is: both wheels install one package, the later over the earlier."""
    here = installed(system)
    found = [name for name in ORT_WHEELS if name in here]
    if not found:
        raise Unknown("no wheel of onnxruntime is installed")
    return " and ".join(found)


def providers(system: System) -> list[str]:
    """In a process of its own, since a broken library may end it."""
    return system.run(python_command(_SAY_PROVIDERS)).split()


def event_engine(system: System) -> bool:
    """Whether this installation has the compiled engine."""
    del system  # of this very package
    return os.path.exists(LIBRARY)
