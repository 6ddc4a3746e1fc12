"""Limits of containers, read from trees of files such as Linux shows."""

from __future__ import annotations

import pytest

from bertfast.environment.cgroups import cpu_limit, memory_limit


@pytest.fixture
def files(tmp_path):
    def write(**contents):
        for name, text in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return write


def test_version_2_takes_the_tightest_limit_above_the_process(files):
    root = files(
        **{
            "proc/self/cgroup": "0::/pod/box",
            "sys/fs/cgroup/pod/cpu.max": "150000 100000",
            "sys/fs/cgroup/pod/box/cpu.max": "400000 100000",
            "sys/fs/cgroup/pod/memory.max": "1048576",
            "sys/fs/cgroup/pod/box/memory.max": "max",
        }
    )
    assert cpu_limit(root) == 1.5
    assert memory_limit(root) == 1048576


def test_version_1_of_a_container_that_sees_only_its_own_group(files):
    root = files(
        **{
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/0123\n4:memory:/docker/0123\n0::/",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2097152",
        }
    )
    assert cpu_limit(root) == 0.5
    assert memory_limit(root) == 2097152


@pytest.mark.parametrize("quota", ["max 100000", None])
def test_without_a_limit(files, quota):
    root = files(**{"proc/self/cgroup": "0::/", **({"sys/fs/cgroup/cpu.max": quota} if quota else {})})
    assert cpu_limit(root) is None
    assert memory_limit(root) is None


def test_where_there_are_no_control_groups(tmp_path):
    assert cpu_limit(tmp_path) is None
    assert memory_limit(tmp_path) is None
