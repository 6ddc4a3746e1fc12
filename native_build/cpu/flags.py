"""Which instructions a file of csrc/cpu may use, told by the end of its name."""

from __future__ import annotations

from pathlib import Path

# Of every file. bertfast/cpu_extension.py loads the module only where all of these are.
BASE = ("-mfma", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
_VNNI = ("-mavx512vnni",)
_BF16 = ("-mavx512bf16",)
# Beyond those. A kernel asks csrc/cpu/features.h, in another file, before it calls into one of these.
BY_SUFFIX = {
    "": (),
    "vnni": _VNNI,
    "bf16": _BF16,
    "amx": (*_VNNI, *_BF16, "-mamx-tile", "-mamx-int8", "-mamx-bf16"),
}
# Contraction into FMA is off in standard C++ modes of g++. Nothing like -ffast-math: NaN and infinity mean something.
OPTIMIZATION = ("-std=c++17", "-O3", "-DNDEBUG", "-ffp-contract=fast", "-fPIC", "-fvisibility=hidden")


def suffix_of(source: Path) -> str:
    """``"amx"`` for ``gemm_amx.cpp``; ``""`` for a file that every AVX-512 CPU runs."""
    last = source.stem.rpartition("_")[2]
    return last if last in BY_SUFFIX else ""


def instruction_flags(source: Path) -> tuple[str, ...]:
    """The compiler's options."""
    return (*BASE, *BY_SUFFIX[suffix_of(source)])
