"""NVIDIA's Jetson boards: which, with which software, and at which clocks."""

import re

from snn_runtime.machine.system import System, Unknown

RELEASE = "etc/nv_tegra_release"
BOARD = "proc/device-tree/model"
JETPACKS = (
    ("35", "5"),
    ("36.2", "6.0"),
    ("36.3", "6.0"),
    ("36.4", "6.1 or 6.2"),
    ("36", "6"),
    ("38", "7.0 or 7.1"),
    ("39.2", "7.2"),
    ("39", "7"),
)
"""By the beginning of the L4T version, the longer one first."""


def here(system: System) -> bool:
    """Whether this is one; in a container the first of the two files may be missing."""
    if system.exists(RELEASE):
        return True
    try:
        return "jetson" in board(system).lower()
    except Unknown:
        return False


def board(system: System) -> str:
    return system.read(BOARD)


def l4t(system: System) -> str:
    """The version of Jetson Linux, such as 36.4.3."""
    text = system.read(RELEASE)
    found = re.search(r"# R(\d+) .*?REVISION: ([\d.]+)", text)
    if not found:
        raise Unknown(f"/{RELEASE} begins with {text[:40]!r}")
    return f"{found[1]}.{found[2]}"


def jetpack(system: System) -> str:
    version = l4t(system)
    for beginning, name in JETPACKS:
        if f"{version}.".startswith(f"{beginning}."):
            return name
    raise Unknown(f"L4T {version} is in no table here")


def power_mode(system: System) -> str:
    """As `nvpmodel -q` says, such as MAXN or 15W; some releases tell it to root only."""
    text = system.run(("nvpmodel", "-q"))
    found = re.search(r"NV Power Mode: *(.+)", text)
    if not found:
        raise Unknown("nvpmodel -q names no power mode; it may want sudo")
    return found[1].strip()


def gpu_megahertz(system: System) -> dict[str, int]:
    """Lowest, present and highest frequency that the GPU may have now."""
    for folder in system.glob("sys/class/devfreq/*"):
        if re.search(r"gpu|gv11b|ga10b|gp10b", folder.name):
            path = str(folder.relative_to(system.root))
            return {
                key: int(system.read(f"{path}/{key if key != 'now' else 'cur'}_freq")) // 10**6
                for key in ("min", "now", "max")
            }
    raise Unknown("no GPU in /sys/class/devfreq")


def celsius(system: System) -> dict[str, float]:
    """Temperature by thermal zone; zones that are switched off do not tell theirs."""
    found = {}
    for folder in system.glob("sys/class/thermal/thermal_zone*"):
        path = str(folder.relative_to(system.root))
        try:
            found[system.read(f"{path}/type")] = int(system.read(f"{path}/temp")) / 1000
        except (Unknown, ValueError):
            continue
    if not found:
        raise Unknown("no readable zone in /sys/class/thermal")
    return found
