"""The CUDA kernels without a GPU: their C++ tests, run on the host by csrc/emulation."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.device.tools import MissingTool, run
from kernels.host_build import build_emulated


@pytest.fixture(scope="module")
def build() -> Path:
    try:
        return build_emulated()
    except MissingTool as missing:
        pytest.skip(str(missing))


def _assert_pass(build: Path, *selection: str) -> None:
    output = run("ctest", "--test-dir", build, "--output-on-failure", "--parallel", "2", *selection)
    assert "100% tests passed" in output


def test_cpp_tests_pass(build: Path) -> None:
    _assert_pass(build, "--exclude-regex", "attention")


@pytest.mark.slow
def test_cpp_tests_of_attention_pass(build: Path) -> None:
    _assert_pass(build, "--tests-regex", "attention")
