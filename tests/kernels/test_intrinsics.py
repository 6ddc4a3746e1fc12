"""Only csrc/kernels/intrinsics*.cuh know whether a device or the emulation is compiled, and speak PTX."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
# Not the bindings: they are for the host, and ask CUDA's runtime themselves.
_FOLDERS = ("kernels", "emulation", "tests")
_SOURCES = sorted(path for folder in _FOLDERS for path in (CSRC / folder).rglob("*.*") if path.suffix != ".txt")
_INTRINSICS = [path for path in _SOURCES if path.match("kernels/intrinsics*.cuh")]
_OTHERS = [path for path in _SOURCES if path not in _INTRINSICS]
_FORBIDDEN = {
    "inline PTX": r"\b(__asm__|asm)\b",
    "a choice between device and emulation": r"^\s*#\s*(if|ifdef|ifndef|elif)\b|__CUDA_ARCH__|BERTFAST_EMULATE",
    "a device's own function": r"\b__(shfl|ballot|sync|popc|fdividef|cvta|float|half|nv_|trap)\w*|\batomic[A-Z]\w*\(",
    "a launch by itself": r"<<<|\bcudaLaunch\w*|\bcudaFuncSetAttribute\b",
}


def _found(text: str) -> list[str]:
    code = re.sub(r"//.*|/\*.*?\*/", "", text)
    return [what for what, pattern in _FORBIDDEN.items() if re.search(pattern, code, re.MULTILINE)]


@pytest.mark.parametrize("path", _OTHERS, ids=lambda path: str(path.relative_to(CSRC)))
def test_no_other_file_knows_the_machine(path: Path) -> None:
    assert not _found(path.read_text())


def test_the_check_sees_them() -> None:
    texts = [path.read_text() for path in _INTRINSICS]
    for what in _FORBIDDEN:
        assert any(what in _found(text) for text in texts), what
    assert not _found("// asm, #ifdef, __syncthreads and cudaLaunchKernelEx in a comment\n")
