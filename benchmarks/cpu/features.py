"""The instructions of this CPU that matter to low precisions."""

from __future__ import annotations

_NAMES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")


def cpu_features() -> list[str]:
    """Those that Linux names; none elsewhere."""
    try:
        with open("/proc/cpuinfo") as lines:
            flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    except OSError:
        return []
    return [name for name in _NAMES if name in flags]
