"""The sources of ``bertfast._cpu`` as one number, which a build writes into the binary: is it made from these?

The build runs this file by itself, without importing bertfast.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

#: What of csrc/kernels is for both: types without CUDA.
SHARED_HEADERS = ("kernels/dtype.h",)


def fingerprint(csrc: Path) -> str | None:
    """Of the files that the binary is compiled from; None where they are not, as in an installed package."""
    folder = csrc / "cpu"
    files = sorted([*folder.glob("*.h"), *folder.glob("*.cpp")], key=lambda path: path.name)
    if not files:
        return None
    found = hashlib.sha256()
    for path in (*files, *(csrc / name for name in SHARED_HEADERS)):
        found.update(f"{path.relative_to(csrc).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]
