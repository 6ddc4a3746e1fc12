"""What Python, C++ and CMake each have to know stands in each of them, and is the same."""

from __future__ import annotations

import re

from bertfast import extension, versions
from bertfast.backends import cuda
from bertfast.ops import id_range
from build.conftest import ROOT
from native_build.cuda import architectures, toolchain


def _of_header(name: str) -> dict[str, int]:
    """The integer constants of csrc/kernels/<name>.h."""
    text = (ROOT / "csrc" / "kernels" / f"{name}.h").read_text()
    return {key: int(number) for key, number in re.findall(r"inline constexpr \w+ (k\w+) = (\d+);", text)}


def test_limits():
    assert _of_header("limits") == {
        "kMaxHeadSize": cuda.MAX_HEAD_SIZE,
        "kMaxHiddenSize": cuda.MAX_HIDDEN_SIZE,
        "kOldestCapability": 10 * extension.OLDEST_CAPABILITY[0] + extension.OLDEST_CAPABILITY[1],
    }
    assert _of_header("limits")["kOldestCapability"] == architectures.OLDEST


def test_bits_of_ids_out_of_range():
    assert _of_header("id_range") == {
        "kWordIdOutOfRange": id_range.WORD_ID_OUT_OF_RANGE,
        "kTokenTypeIdOutOfRange": id_range.TOKEN_TYPE_ID_OUT_OF_RANGE,
        "kPositionIdOutOfRange": id_range.POSITION_ID_OUT_OF_RANGE,
    }


def test_oldest_torch():
    assert versions.SERVED["torch"].oldest == toolchain.OLDEST_TORCH
    major, minor = toolchain.OLDEST_TORCH
    cmake = (ROOT / "csrc" / "bindings" / "CMakeLists.txt").read_text()
    assert f"set(torch_target_version 0x{major:02x}{minor:02x}000000000000)" in cmake
    assert f'"torch>={major}.{minor}",' in (ROOT / "pyproject.toml").read_text()
