"""Where the limits of this process's control groups stand: its own group's and those above it.

A container's limit may stand at any of them, and the tightest holds. Version 2 has one tree,
version 1 one for each controller, and a system may have both. A container may see the whole tree,
or its own part as the root; what `/proc/self/cgroup` names may then lie outside what is mounted.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TypeAlias

from snn_runtime.machine.system import System, Unknown

Tree: TypeAlias = tuple[str, PurePosixPath, str]
"""Controller, or "" for version 2; which part of the tree is mounted; where."""
USUAL = ("", "unified", "{0}", "{0},cpuacct")
"""Where trees are below /sys/fs/cgroup, if nobody says: version 2 alone, beside 1; version 1."""


def folders(system: System, controller: str) -> Iterator[str]:
    """Yield the groups that may limit what `controller`, such as `cpu`, hands out, own first.

    They are paths for `System.read`, and need not be there.
    """
    own = _own(system)
    for kind, part, place in _trees(system, controller):
        group = own.get(kind, PurePosixPath("/"))
        inside = ".." not in group.parts and group.is_relative_to(part)
        below = group.relative_to(part) if inside else PurePosixPath()
        for folder in (below, *below.parents):
            yield str(PurePosixPath(place.strip("/"), folder))


def _own(system: System) -> dict[str, PurePosixPath]:
    """This process's group by controller, from `0::/user.slice` and `4:cpu,cpuacct:/docker/1f`."""
    try:
        lines = system.read("proc/self/cgroup").splitlines()
    except Unknown:
        return {}
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return {
        kind: PurePosixPath(path.removesuffix(" (deleted)"))
        for _, kinds, path in fields
        for kind in kinds.split(",")
    }


def _trees(system: System, controller: str) -> list[Tree]:
    """What is mounted, as `30 23 0:26 /part /place rw - cgroup cgroup rw,cpu` in text."""
    found: list[Tree] = []
    try:
        lines = system.read("proc/self/mountinfo").splitlines()
    except Unknown:
        lines = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, described = before.split(), after.split()
        if len(fields) < 5 or len(described) < 3:
            continue
        kind = {"cgroup": controller, "cgroup2": ""}.get(described[0])
        if kind is None or (kind and controller not in described[2].split(",")):
            continue
        part, place = (_unescaped(field) for field in fields[3:5])
        found.append((kind, PurePosixPath(part), place))
    if found:
        return found
    places = [name.format(controller) for name in USUAL]
    return [
        (controller if controller in name else "", PurePosixPath("/"), f"sys/fs/cgroup/{name}")
        for name in places
    ]


def _unescaped(path: str) -> str:
    r"""Spaces are written as \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
