"""What the control groups of Linux, and so most containers, leave to this process (cgroups(7), versions 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cpu_limit(root: Path = _ROOT) -> float | None:
    """How many CPUs' time a second may be used; None without a limit. root: of the file system, for tests."""
    limits: list[float] = []
    for folder in _folders("cpu", root):
        quota, period = (_read(folder / "cpu.max") or "max 100000").split()
        if quota == "max":
            quota = _read(folder / "cpu.cfs_quota_us") or "-1"
            period = _read(folder / "cpu.cfs_period_us") or "100000"
        if int(quota) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit(root: Path = _ROOT) -> int | None:
    """Bytes; None without a limit. Version 1 has a number near 2^63 for none: compare with what the machine has."""
    limits: list[int] = []
    for folder in _folders("memory", root):
        text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes") or "max"
        if text != "max":
            limits.append(int(text))
    return min(limits, default=None)


def _folders(controller: str, root: Path) -> Iterator[Path]:
    """The group's own folder and all above it: each may have a limit. A container often sees only the topmost."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup" / controllers
        group = mounted / path.strip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mounted))


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
