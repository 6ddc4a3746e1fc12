"""The demo and the benchmarks run and say what they are there to say. (Their figures are for people to look at.)"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def _run(*arguments: str | Path, **environment: str) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_demo_trains_a_model_and_gets_the_same_answers_from_it(tmp_path):
    trained = _run("examples/demo.py", BERTFAST_CACHE=str(tmp_path))
    kept = _run("examples/demo.py", BERTFAST_CACHE=str(tmp_path))
    for output in (trained, kept):
        assert "predictions that differ: 0 of 42" in output
        assert "calls on bertfast's fast path: 25 of 25" in output
        assert output.rstrip().endswith("OK: same answers.")
    right = re.search(r"test split, correct +(\d+) of 40.* (\d+) of 40", trained)
    assert right is not None
    assert int(right[1]) == int(right[2]) >= 28


def test_bench_encoder_compares_both(tmp_path):
    path = tmp_path / "results.json"
    _run("benchmarks/bench_encoder.py", "--rounds", "2", "--rows", "1x32", "--json", path)
    stored = json.loads(path.read_text())
    (row,) = stored["results"]
    assert row["row"] == "1x32"
    assert row["relative_error"] < 2e-6
    assert row["speedup"] > 0
    assert {"torch", "transformers", "cpu", "threads"} <= stored["environment"].keys()


def test_bench_pipelines_compares_both(tmp_path):
    path = tmp_path / "results.json"
    arguments = ("--rounds", "2", "--texts", "4", "--rows", "token-zero,encode", "--json", path)
    _run("benchmarks/bench_pipelines.py", *arguments)
    stored = json.loads(path.read_text())
    assert [row["row"] for row in stored["results"]] == ["token-zero", "encode"]
    assert all(row["relative_error"] < 2e-6 and row["speedup"] > 0 for row in stored["results"])
    assert {"torch", "transformers", "sentence-transformers", "cpu", "threads"} <= stored["environment"].keys()


def test_bench_pipelines_names_its_rows_when_asked_for_another():
    command = [sys.executable, "benchmarks/bench_pipelines.py", "--rows", "encode,nosuch"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2, done.stderr
    assert re.search(r"error: --rows: expected names of .*, predict, got nosuch$", done.stderr.rstrip())


def test_bench_guard_prints_what_a_call_costs():
    assert re.search(r"guard: \d+ us per call", _run("benchmarks/bench_guard.py"))


def test_bench_linear_has_a_row_for_each_case():
    output = _run("benchmarks/bench_linear.py", "--rows", "2,40", "--repeats", "1")
    assert len(re.findall(r"^(BERT-base|MiniLM) +(2|40) (qkv|out|ffn)", output, re.M)) == 12
