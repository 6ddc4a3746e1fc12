"""The CPU and what of it this process may use."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from bertfast.environment.cgroups import cpu_limit, memory_limit

# As Linux names them, and as `torch.cpu.get_capabilities` does where that differs.
_FEATURES = {
    "avx2": "avx2",
    "fma": "fma3",
    "f16c": "f16c",
    "avx512f": "avx512_f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "amx_tile": "amx_tile",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
    "amx_fp16": "amx_fp16",
    # ARM
    "asimddp": "dot",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
}
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Cpu:
    """logical: CPUs of the machine; usable: those that this process may run on; limit: of its cgroup, in CPUs' time;
    physical: cores of the machine. memory_bytes: of the machine; memory_limit_bytes: of its cgroup. What is not known
    here is None.
    """

    name: str
    features: tuple[str, ...]
    logical: int | None
    physical: int | None
    usable: int | None
    limit: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None


def cpu() -> Cpu:
    """This machine's."""
    entries = _cpuinfo()
    memory = _memory_bytes()
    limit = memory_limit()
    return Cpu(
        name=_name(entries),
        features=_features(entries),
        logical=os.cpu_count(),
        physical=_physical(entries),
        usable=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        limit=cpu_limit(),
        memory_bytes=memory,
        memory_limit_bytes=limit if limit is not None and (memory is None or limit < memory) else None,
    )


def cpu_name() -> str:
    """With family and model: the names that virtual machines give tell little."""
    return _name(_cpuinfo())


def cpu_features() -> tuple[str, ...]:
    """The instruction sets that matter to the speed of matrix products."""
    return _features(_cpuinfo())


def _cpuinfo() -> list[dict[str, str]]:
    """One entry for each logical CPU; none where the system is not Linux."""
    try:
        text = _CPUINFO.read_text()
    except OSError:
        return []
    lines = ([line.partition(":") for line in block.splitlines()] for block in text.strip().split("\n\n"))
    return [{key.strip(): value.strip() for key, _, value in block} for block in lines]


def _name(entries: list[dict[str, str]]) -> str:
    first = entries[0] if entries else {}
    name = first.get("model name") or platform.processor() or platform.machine()
    if "cpu family" not in first:
        return name
    return f"{name} (family {first['cpu family']}, model {first.get('model', '?')})"


def _features(entries: list[dict[str, str]]) -> tuple[str, ...]:
    first = entries[0] if entries else {}
    flags = set((first.get("flags") or first.get("Features") or "").split())
    if flags:
        return tuple(name for name in _FEATURES if name in flags)
    try:
        import torch
    except ImportError:
        return ()
    has = torch.cpu.get_capabilities()
    return tuple(name for name, theirs in _FEATURES.items() if has.get(theirs))


def _physical(entries: list[dict[str, str]]) -> int | None:
    cores = {(entry.get("physical id"), entry["core id"]) for entry in entries if "core id" in entry}
    return len(cores) or None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
