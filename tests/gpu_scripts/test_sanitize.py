"""What compute-sanitizer says is read rightly; only the absence of errors passes."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys

import pytest
from gpu.op_cases import KERNEL_DTYPES
from ops.cases import OPS

from benchmarks.gpu import sanitize
from benchmarks.gpu.outcome import Status
from benchmarks.gpu.processes import Finished
from benchmarks.gpu.sanitizer_probe import chosen
from benchmarks.gpu.stages import Run

_SAID = "launched every kernel: 600 calls of 8 ops"
_CLEAN = f"========= COMPUTE-SANITIZER\n{_SAID}\n========= ERROR SUMMARY: 0 errors\n"
_HAZARDS = (
    "========= Error: Race reported between Write access at kernel and Read access at kernel [64 hazards]\n"
    "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n"
)


@pytest.mark.parametrize(
    ("output", "errors"),
    [
        (_CLEAN, 0),
        ("========= ERROR SUMMARY: 32 errors\n", 32),
        ("========= ERROR SUMMARY: 1 error\n", 1),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n", 0),
        (_HAZARDS, 1),
        ("========= LEAK SUMMARY: 0 bytes leaked in 0 allocations\n========= ERROR SUMMARY: 0 errors\n", 0),
        ("========= Error: Device not supported\n", None),
        ("", None),
    ],
)
def test_the_tools_count(output, errors):
    assert sanitize.num_errors(output) == errors


@pytest.mark.parametrize(
    ("code", "output", "words"),
    [
        (0, _CLEAN, "0 errors"),
        (0, _HAZARDS + _SAID, "1 errors"),
        (1, _CLEAN, "did not run to its end"),
        (0, _CLEAN.replace(_SAID, ""), "did not run to its end"),
        (1, "========= Error: Device not supported\n", "no summary of errors .*Device not supported"),
        (None, _CLEAN, "its time was up"),
    ],
)
def test_only_no_errors_and_a_whole_run_pass(code, output, words):
    verdict = sanitize.verdict(Finished(code, output, 1.0), "launched every kernel")
    assert sanitize.re.search(words, verdict)
    assert (verdict == "0 errors") == (words == "0 errors")


def _install(folder, name, text):
    program = folder / name
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


_TOOL = """
import sys
tool, planted = sys.argv[2], "benchmarks.gpu.sanitizer_probe" not in sys.argv
errors = 1 if planted and tool != {blind!r} else 0
name = "RACECHECK SUMMARY: %d hazards displayed" if tool == "racecheck" else "ERROR SUMMARY: %d errors"
print("launched every kernel" if not planted else "no error")
print("=========", name % (errors if planted else {errors}))
"""
_NVCC = "import sys; open(sys.argv[sys.argv.index('-o') + 1], 'w')"


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """``stage(blind="", errors=0)``: with a compute-sanitizer that says so."""

    def run(blind="", errors=0):
        _install(tmp_path, "compute-sanitizer", _TOOL.format(blind=blind, errors=errors))
        _install(tmp_path, "nvcc", _NVCC)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sanitize, "BUILD", tmp_path / "build")
        return sanitize.sanitize(Run(120.0, tmp_path, tmp_path / "logs", {"compute_capability": "9.0"}))

    return run


def test_all_tools_silent(stage):
    outcome = stage()
    assert outcome.status is Status.PASSED, outcome
    assert outcome.summary == "memcheck, racecheck, synccheck, initcheck: 0 errors"


def test_an_error_of_a_kernel(stage):
    outcome = stage(errors=2)
    assert outcome.status is Status.FAILED
    assert "racecheck: 2 errors" in outcome.summary


def test_a_tool_that_sees_nothing(stage):
    outcome = stage(blind="initcheck")
    assert outcome.status is Status.FAILED
    assert outcome.summary == "initcheck: does not find the planted error (0 errors)"


def test_no_tool_is_skipped_aloud(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    outcome = sanitize.sanitize(Run(120.0, tmp_path, tmp_path, {"compute_capability": "9.0"}))
    assert outcome.status is Status.SKIPPED
    assert "no compute-sanitizer" in outcome.summary


def test_the_script_calls_every_op():
    for every in (1, 50):
        assert {(case.op, case.dtype) for case in chosen(every)} == {
            (op, dtype) for op in OPS for dtype in KERNEL_DTYPES
        }
    assert len(chosen(50)) < len(chosen(1)) / 3


@pytest.mark.slow
def test_the_planted_errors_compile(tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc on the PATH")
    command = ["nvcc", "-arch=sm_80", "-Werror=all-warnings", "-o", str(tmp_path / "planted"), str(sanitize._PLANTED)]
    subprocess.run(command, check=True, timeout=300)
