"""How many threads there are room for: affinity, and every form in which a quota can be given.

The trees are laid below a root of their own; their texts are of the form that Linux, Docker,
Kubernetes and systemd give them.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import example
from hypothesis import given
from hypothesis import strategies as st

from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import UsageError
from snn_runtime.infer import cli as infer
from snn_runtime.infer import labelling
from snn_runtime.machine import cores
from snn_runtime.machine.cores import MOST, quota, thread_count, usable
from snn_runtime.machine.processor import memory_limit
from snn_runtime.machine.system import System, Unknown

SIXTEEN = 16
PHOTO = Path(__file__).parents[3] / "runtime" / "photos" / "cat.jpg"
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
V1_OWN = "12:memory:/lxc/a\n4:cpu,cpuacct:/lxc/a\n1:name=systemd:/lxc/a\n0::/\n"

Made = Callable[[Mapping[str, str]], System]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(files: Mapping[str, str]) -> System:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return System(tmp_path, allowed=SIXTEEN)

    return make


def v2(own: str, limits: Mapping[str, str], mount: str = V2_MOUNT) -> dict[str, str]:
    """Version 2 alone: the process's group, and what cpu.max says in each."""
    files = {"proc/self/cgroup": f"0::{own}\n", "proc/self/mountinfo": mount}
    return files | {f"sys/fs/cgroup{group}/cpu.max": text for group, text in limits.items()}


def v1(limits: Mapping[str, str], mounts: str = V1_MOUNTS, own: str = V1_OWN) -> dict[str, str]:
    """Version 1: what quota and period are in each group."""
    files = {"proc/self/cgroup": own, "proc/self/mountinfo": mounts}
    for group, text in limits.items():
        folder = f"sys/fs/cgroup/cpu,cpuacct{group}"
        files[f"{folder}/cpu.cfs_quota_us"], files[f"{folder}/cpu.cfs_period_us"] = text.split()
    return files


DOCKER_V1 = V1_MOUNTS.replace("0:30 / ", "0:30 /docker/1f ")
ELSEWHERE = V2_MOUNT.replace("/sys/fs/cgroup", "/mnt/c\\040g")
HYBRID = V1_MOUNTS + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

CASES: dict[str, tuple[dict[str, str], int]] = {
    "nothing": ({}, 16),
    "no limit": (v2("/", {"": "max 100000"}), 16),
    "a whole number": (v2("/", {"": "200000 100000"}), 2),
    "a fraction rounds up": (v2("/", {"": "150000 100000"}), 2),
    "less than one is one": (v2("/", {"": "1000 100000"}), 1),
    "just over": (v2("/", {"": "200001 100000"}), 3),
    "another period": (v2("/", {"": "30000 10000"}), 3),
    "more than the affinity": (v2("/", {"": "6400000 100000"}), 16),
    "own group": (v2("/a/b", {"/a/b": "300000 100000", "/a": "max 100000"}), 3),
    "the group above": (v2("/a/b", {"/a/b": "max 100000", "/a": "300000 100000"}), 3),
    "the tightest of all": (
        v2("/a/b/c", {"": "900000 100000", "/a": "400000 100000", "/a/b/c": "500000 100000"}),
        4,
    ),
    "not a sibling": (v2("/a/b", {"/a/c": "100000 100000", "/b": "100000 100000"}), 16),
    "own group is gone": (v2("/a/b (deleted)", {"/a": "200000 100000"}), 2),
    "outside the namespace": (v2("/../../x", {"": "200000 100000", "/x": "100000 100000"}), 2),
    "unreadable text": (v2("/a", {"/a": "much", "": "200000 100000"}), 16),
    "no period": (v2("/", {"": "200000 0"}), 16),
    "a space where it is mounted": (
        {**v2("/a", {}, ELSEWHERE), "mnt/c g/a/cpu.max": "200000 100000"},
        2,
    ),
    "a part of the tree is mounted": (
        v2("/pods/p1", {"": "200000 100000"}, V2_MOUNT.replace("0:26 /", "0:26 /pods/p1")),
        2,
    ),
    "another part of the tree is mounted": (
        v2("/other", {"": "200000 100000"}, V2_MOUNT.replace("0:26 /", "0:26 /pods/p1")),
        2,
    ),
    "version 1, no limit": (v1({"/lxc/a": "-1 100000"}), 16),
    "version 1": (v1({"/lxc/a": "250000 100000"}), 3),
    "version 1, the group above": (v1({"/lxc/a": "-1 100000", "/lxc": "50000 100000"}), 1),
    "version 1, the root": (v1({"": "700000 100000"}), 7),
    "version 1 in a container": (
        v1({"": "200000 100000"}, DOCKER_V1, "4:cpu,cpuacct:/docker/1f\n"),
        2,
    ),
    "version 1 limits, version 2 is there": (v1({"/lxc/a": "200000 100000"}, HYBRID), 2),
    "version 2 limits, version 1 is there": (
        {
            **v1({"/lxc/a": "-1 100000"}, HYBRID, V1_OWN.replace("0::/", "0::/s/t")),
            "sys/fs/cgroup/unified/s/cpu.max": "500000 100000",
        },
        5,
    ),
    "no mounts told, version 2": ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
    "no mounts told, version 1": (
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/1f\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "a quota without a period": ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n"}, 16),
    "odd lines": (
        {
            "proc/self/cgroup": "\nodd\n1:2\n0::/a\n",
            "proc/self/mountinfo": f"\nodd\n1 2 - cgroup2\n{V2_MOUNT}",
            "sys/fs/cgroup/a/cpu.max": "200000 100000",
        },
        2,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_affinity_and_quota(case: str, made: Made) -> None:
    files, expected = CASES[case]
    assert usable(made(files)) == expected


def test_affinity_counts_where_the_quota_is_wider(made: Made) -> None:
    system = made(v2("/", {"": "400000 100000"}))
    assert [usable(System(system.root, allowed=n)) for n in (1, 3, 4, 5)] == [1, 3, 4, 4]


def test_files_that_may_not_be_read(made: Made, tmp_path: Path) -> None:
    """Folders in their places, which no user can read as files."""
    system = made(v2("/a", {"": "200000 100000"}))
    (tmp_path / "sys/fs/cgroup/a/cpu.max").mkdir(parents=True)
    assert usable(system) == 2
    for name in ("cgroup", "mountinfo"):
        (tmp_path / "proc/self" / name).unlink()
        (tmp_path / "proc/self" / name).mkdir()
    assert usable(system) == 2


@given(st.integers(1, 10**7), st.integers(1000, 10**6), st.integers(1, 64))
def test_it_is_the_smaller_rounded_up(granted: int, period: int, allowed: int) -> None:
    class Told(System):
        def exists(self, path: str) -> bool:
            return path == "sys/fs/cgroup/cpu.max"

        def read(self, path: str) -> str:
            if not self.exists(path):
                raise Unknown("it is not here")
            return f"{granted} {period}"

    system = Told(allowed=allowed)
    count, exact = usable(system), quota(system)
    assert exact is not None and exact * period == granted
    assert 1 <= count <= allowed
    assert count == allowed or count - 1 < exact <= count


def test_this_machine() -> None:
    assert 1 <= usable() <= len(os.sched_getaffinity(0))


def test_memory_is_looked_for_in_the_same_places(made: Made) -> None:
    files = v2("/a/b", {}) | {"sys/fs/cgroup/a/memory.max": "1000", "sys/fs/cgroup/memory.max": "9"}
    assert memory_limit(made(files)) == 9
    old = v1({}) | {
        "sys/fs/cgroup/memory/lxc/a/memory.limit_in_bytes": "2000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    assert memory_limit(made(old)) == 2000


@pytest.mark.parametrize("threads", [0, -1, MOST + 1, 2**31, 2**32 + 1, 2**64, 1.0, "1", b"1"])
def test_numbers_of_threads_that_cannot_be(threads: Any) -> None:
    entries: list[Callable[[], object]] = [
        lambda: thread_count(threads),
        lambda: EventBackend(example(), threads=threads),
        lambda: OrtBackend(example(), threads=threads),
    ]
    for entry in entries:
        with pytest.raises(UsageError, match="expected a whole number from 1 to 1024") as refused:
            entry()
        assert refused.value.code == "bad_threads"


def test_numbers_of_threads_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [thread_count(n) for n in (1, MOST)] == [1, MOST]
    assert thread_count(np.int64(3)) == 3  # type: ignore[arg-type]
    monkeypatch.setattr(cores, "usable", lambda: 3)
    assert thread_count(None) == 3
    assert EventBackend(example()).details.endswith(", 3 threads")
    assert OrtBackend(example()).details.endswith(", 3 threads")


def test_pictures_are_decoded_by_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[int] = []
    pools = labelling._Threads

    def pool(count: int) -> AbstractContextManager[ThreadPoolExecutor]:
        asked.append(count)
        return pools(count)

    for name in "abc":  # the first is a batch of its own
        shutil.copy(PHOTO, tmp_path / f"{name}.jpg")
    monkeypatch.setattr(labelling, "LARGE", 1)
    monkeypatch.setattr(labelling, "_Threads", pool)
    for there, expected in ((1, 1), (2, 2), (16, labelling.DECODERS)):
        monkeypatch.setattr(labelling, "usable", lambda there=there: there)
        infer.run(infer.parse_args([str(tmp_path)]))
        assert asked.pop() == expected
