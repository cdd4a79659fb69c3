from __future__ import annotations

import os
from pathlib import Path

import pytest

from tactful.reading.processor import available_cpus, processor_name, vendor

USABLE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100001 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense"}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        (  # the nearest limit is further up
            {
                "proc/self/cgroup": "0::/user/job\n",
                "sys/fs/cgroup/user/job/cpu.max": "max 100000\n",
                "sys/fs/cgroup/user/cpu.max": "100000 100000\n",
            },
            1,
        ),
        (  # the path is the host's; in the container the mount is the group
            {
                "proc/self/cgroup": "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_the_least_of_affinity_and_quotas(
    tmp_path: Path, files: dict[str, str], quota: int | None
) -> None:
    assert available_cpus(write(tmp_path, files)) == min(USABLE, quota or USABLE)


def test_this_machine_has_a_processor() -> None:
    assert 1 <= available_cpus() <= USABLE
    assert processor_name()


def test_the_processors_name(tmp_path: Path) -> None:
    write(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Test CPU @ 3 GHz\n"})
    assert processor_name(tmp_path) == "Test CPU @ 3 GHz"
    assert processor_name(tmp_path / "none")


def test_its_vendor(tmp_path: Path) -> None:
    write(tmp_path, {"proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\n"})
    assert vendor(tmp_path) == "GenuineIntel"
    assert vendor(tmp_path / "none") == ""
