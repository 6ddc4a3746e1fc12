"""All stages from end to end on the CPU: what they print and write, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from bertfast import ops
from gpu_scripts.conftest import ROOT

pytestmark = pytest.mark.slow


def _gpu(*arguments, timeout=900, **environment):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_every_stage(tmp_path):
    done = _gpu("--dry-run", "--out", tmp_path, "--budget", 800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("DRY RUN on a CPU") == 2, "said first and last"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["dry_run"] is True
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert list(stages) == ["build", "parity", "kernels-tests", "sanitize", "bench-kernels", "bench-encoder"]
    assert {stage["status"] for stage in stages.values()} <= {"passed", "skipped"}
    assert stages["parity"]["passed"] > 200
    assert stages["kernels-tests"]["passed"] > 600
    last = done.stdout.partition("stage ")[2]
    for name in stages:
        assert name in last


def test_the_benchmarks_write_what_they_measured(tmp_path):
    done = _gpu("--dry-run", "--out", tmp_path, "--stages", "bench-encoder,bench-kernels")
    assert done.returncode == 0, done.stdout + done.stderr
    kernels, encoder = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("kernels", "encoder"))
    for written in (kernels, encoder):
        assert written["dry_run"] is True
        assert written["environment"]["torch"] == torch.__version__
        assert written["errors"] == []
    assert {row["op"] for row in kernels["results"]} == set(ops.__all__)
    for row in kernels["results"]:
        assert row["error"] is None or row["error"] < 1e-5
        assert row["ours"]["median_us"] > 0
    assert {row["ragged"] for row in kernels["results"]} == {True, False}
    for row in encoder["results"]:
        assert row["results"].keys() == {"bertfast", "sdpa"}
        assert row["results"]["bertfast"]["error"] < 2e-6
        assert row["results"]["sdpa"]["error"] == 0
        assert row["met"] is None
    assert any("flash-attn" in line or "flash_attention" in line for line in encoder["left_out"])


def test_without_a_gpu_it_says_what_is_missing(tmp_path):
    done = _gpu("--out", tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "make gpu needs an NVIDIA GPU" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_tests_skip_aloud_without_a_gpu():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-k", "test_waits or test_soak"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "BERTFAST_GPU_TESTS": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no CUDA device that torch" in done.stdout
    assert " passed" not in done.stdout
