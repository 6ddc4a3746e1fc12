"""What compute-sanitizer says is read rightly; only the absence of errors passes."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys

import pytest
import torch
from gpu import sanitizer_probe
from gpu.op_cases import KERNEL_DTYPES
from gpu.sanitizer_probe import chosen
from ops.cases import OPS

from benchmarks.gpu import environment, sanitize
from benchmarks.gpu.outcome import Run, Status
from benchmarks.gpu.processes import Finished
from native_build.cuda import toolchain

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
tool, planted = sys.argv[2], "gpu.sanitizer_probe" not in sys.argv
errors = 1 if planted and tool != {blind!r} else 0
name = "RACECHECK SUMMARY: %d hazards displayed" if tool == "racecheck" else "ERROR SUMMARY: %d errors"
print("launched every kernel" if not planted else "no error")
print("=========", name % (errors if planted else {errors}))
"""
_NVCC = """
import sys
if "-o" in sys.argv:
    if {breaks}:
        sys.exit("planted.cu: error")
    open(sys.argv[sys.argv.index("-o") + 1], "w")
else:
    print("Cuda compilation tools, release 13.0, V13.0.88")
"""


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """``stage(blind="", errors=0, nvcc="works")``: with a compute-sanitizer that says so. nvcc: or "breaks", ""."""

    def run(blind="", errors=0, nvcc="works"):
        _install(tmp_path, "compute-sanitizer", _TOOL.format(blind=blind, errors=errors))
        if nvcc:
            _install(tmp_path, "nvcc", _NVCC.format(breaks=nvcc == "breaks"))
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(toolchain, "_USUAL_HOME", str(tmp_path))
        for name in ("CUDA_HOME", "CUDA_PATH"):
            monkeypatch.delenv(name, raising=False)
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


def test_silence_proves_nothing_without_planted_errors(stage):
    outcome = stage(nvcc="")
    assert outcome.status is Status.SKIPPED
    assert "without nvcc no error could be planted" in outcome.summary
    assert outcome.facts["memcheck"] == "0 errors"


def test_an_error_of_a_kernel_counts_without_planted_ones(stage):
    outcome = stage(errors=1, nvcc="")
    assert outcome.status is Status.FAILED
    assert "memcheck: 1 errors" in outcome.summary


def test_planted_errors_that_do_not_compile(stage):
    outcome = stage(nvcc="breaks")
    assert outcome.status is Status.FAILED
    assert "planted.cu, the tools' own test, does not compile" in outcome.summary


def test_the_nvcc_that_is_recorded_is_the_one_that_builds(tmp_path, monkeypatch):
    """CUDA_HOME's, even if another comes first on the PATH."""
    for name, version in (("path", "12.8.0"), ("home/bin", "13.0.1")):
        (tmp_path / name).mkdir(parents=True)
        _install(tmp_path / name, "nvcc", f"print('release {version[:4]}, V{version}')")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    assert environment.find_nvcc().path == tmp_path / "home" / "bin" / "nvcc"
    assert environment.describe()["nvcc"] == "13.0.1"


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


@pytest.mark.parametrize(("capability", "left_out"), [((8, 0), 0), ((7, 5), 8)])
def test_only_calls_that_were_made_are_counted(capability, left_out, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(sanitizer_probe, "on_device", lambda arguments, device: arguments)
    monkeypatch.setattr(sanitizer_probe, "results", lambda case, arguments: ())
    selected = chosen(10_000)
    assert len(selected) == 24
    said = sanitizer_probe.launch(selected, torch.device("cuda"))
    assert said.startswith(f"launched every kernel: {24 - left_out} calls of 8 ops")
    assert ("left out 8 in bfloat16" in said) == bool(left_out)
