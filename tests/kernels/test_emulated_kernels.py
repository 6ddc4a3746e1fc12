"""The CUDA kernels without a GPU: run on the host by csrc/emulation."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _require(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} on the PATH")


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)


def _check(*command: str | Path) -> str:
    done = _run(*command)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout


@dataclass(frozen=True)
class Tree:
    """A copy of the C++ sources that a test may spoil, and where it is built."""

    source: Path
    build: Path

    def make(self, target: str = "all") -> None:
        _check("cmake", "--build", self.build, "--target", target, "--parallel", "2")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    _require("cmake", "g++")
    directory = tmp_path_factory.mktemp("kernels")
    tree = Tree(directory / "source", directory / "build")
    shutil.copytree(ROOT / "csrc", tree.source / "csrc")
    shutil.copy(ROOT / "CMakeLists.txt", tree.source)
    options = ("-DBERTFAST_DEVICE_KERNELS=OFF", "-DCMAKE_CXX_COMPILER=g++", "-DCMAKE_CXX_FLAGS_RELEASE=-O1")
    _check("cmake", "-S", tree.source, "-B", tree.build, *options)
    tree.make()
    return tree


def test_cpp_tests_pass(tree: Tree) -> None:
    output = _check("ctest", "--test-dir", tree.build, "--output-on-failure")
    assert "100% tests passed" in output


@dataclass(frozen=True)
class Bug:
    """A mistake to make in a kernel's source, and what its tests have to say about it."""

    name: str
    file: str
    replacements: Sequence[tuple[str, str]]
    complaint: str

    @property
    def test(self) -> str:
        kernel = self.file.split(".")[0]
        return f"{'residual_layer_norm' if kernel == 'layer_norm_row' else kernel}_test"


BUGS = (
    Bug(
        "bias one column further",
        "bias_gelu.cuh",
        [("(params.bias) + column", "(params.bias) + column + 1")],
        "misaligned access",
    ),
    Bug("one row too many", "bias_gelu.cuh", [("(first_row + i < ", "(first_row + i <= ")], "out of bounds"),
    Bug(
        "32-bit row offset",
        "bias_gelu.cuh",
        [("const int64_t offset = first_row", "const int offset = static_cast<int>(first_row)")],
        "FAIL  offsets are 64-bit",
    ),
    Bug("tanh for erf", "bias_gelu.cuh", [("return gelu_erf(x)", "return gelu_tanh(x)")], "FAIL  erf is exact"),
    Bug(
        "alignment of x forgotten",
        "bias_gelu.cu",
        [("params.inner_size, params.x, ", "params.inner_size, ")],
        "misaligned",
    ),
    Bug("no barrier", "layer_norm_row.cuh", [("    sync_block();\n", "")], "nan, not"),
    Bug(
        "slots used twice",
        "layer_norm_row.cuh",
        [("slots + Layout::kWarpsPerRow", "slots")],
        "FAIL  schedules",
    ),
    Bug(
        "E[x^2] - mean^2",
        "layer_norm_row.cuh",
        [
            ("hidden_size ? value - mean : 0.0f", "hidden_size ? value : 0.0f"),
            ("const float variance = ", "const float variance = -mean * mean + "),
            ("[i % kWidth] *= scale", "[i % kWidth] = (values[i / kWidth][i % kWidth] - mean) * scale"),
        ],
        "FAIL  large mean",
    ),
    Bug(
        "half a warp sums",
        "layer_norm_row.cuh",
        [("  value = warp_sum(value);", "  if (threadIdx.x % 2 == 0) value = warp_sum(value);")],
        "deadlock",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_caught(tree: Tree, bug: Bug) -> None:
    path = tree.source / "csrc" / "kernels" / bug.file
    right = path.read_text()
    wrong = right
    for old, new in bug.replacements:
        assert wrong.count(old) == 1, f"{bug.file}: expected {old!r} once, it is there {wrong.count(old)} times"
        wrong = wrong.replace(old, new)
    try:
        path.write_text(wrong)
        tree.make(bug.test)
        done = _run(tree.build / "csrc" / "tests" / bug.test)
    finally:
        path.write_text(right)
    assert done.returncode == 1, done.stdout
    assert bug.complaint in done.stdout
