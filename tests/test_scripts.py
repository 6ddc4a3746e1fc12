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
    arguments = ("--rounds", "2", "--texts", "4", "--rows", "token-classification,encode", "--json", path)
    _run("benchmarks/bench_pipelines.py", *arguments)
    stored = json.loads(path.read_text())
    assert [row["row"] for row in stored["results"]] == ["token-classification", "encode"]
    assert all(row["relative_error"] < 2e-6 and row["speedup"] > 0 for row in stored["results"])
    assert {"torch", "transformers", "sentence-transformers", "cpu", "threads"} <= stored["environment"].keys()


def test_bench_pipelines_names_its_rows_when_asked_for_another():
    command = [sys.executable, "benchmarks/bench_pipelines.py", "--rows", "encode,nosuch"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2, done.stderr
    assert re.search(r"error: --rows: expected names of .*, predict, got nosuch$", done.stderr.rstrip())


def test_compare_cpu_compares_with_those_that_are_asked(tmp_path):
    path = tmp_path / "results.json"
    wanted = ("--model", "bert-tiny", "--peers", "transformers", "--rows", "1x32", "--precisions", "float32")
    output = _run("benchmarks/compare_cpu.py", *wanted, "--rounds", "2", "--json", path)
    stored = json.loads(path.read_text())
    row, row2 = stored["results"]
    assert (row["threads"], row2["threads"]) == (1, 2)
    assert (row["row"], row["precision"], row["best_peer"]) == ("1x32", "float32", "transformers")
    assert row["timings"].keys() == {"bertfast", "transformers"}
    assert row["accuracy"]["bertfast"]["pooled_error"] < 2e-6
    assert row["accuracy"]["transformers"]["pooled_error"] == 0
    assert row["ratio"] > 0
    assert f"float32, 1 thr. {row['ratio']:.2f}x transformers" in " ".join(output.split())
    assert {"torch", "transformers", "cpu", "cpu_features", "threads"} <= stored["environment"].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--peers", "nosuch"), r"--peers: expected names of transformers, .*, got nosuch"),
        (("--rows", "ragged-exact"), r"--rows: expected names of padded-512, .*, got ragged-exact"),
        (("--precisions", "float16"), r"--precisions: expected names of float32, bfloat16, int8, got float16"),
        (("--rounds", "1"), r"--rounds: expected an integer of at least 2, got 1"),
    ],
    ids=["peers", "rows", "precisions", "rounds"],
)
def test_compare_cpu_refuses_what_it_does_not_know(arguments, message):
    command = [sys.executable, "benchmarks/compare_cpu.py", *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2, done.stderr
    assert re.search(f"error: argument {message}$", done.stderr.rstrip())


def test_compare_minilm_finds_float32_unchanged(tmp_path):
    path = tmp_path / "results.json"
    wanted = ("--candidates", "bertfast,transformers", "--precisions", "float32", "--texts", "12")
    _run("benchmarks/compare_minilm.py", *wanted, "--json", path)
    results = json.loads(path.read_text())["results"]
    assert [result["candidate"] for result in results] == ["bertfast", "transformers"]
    assert all(result["top1"] == 1 and result["cosine_least"] > 1 - 1e-6 for result in results)


def test_bench_guard_prints_what_a_call_costs():
    assert re.search(r"guard: \d+ us per call", _run("benchmarks/bench_guard.py"))


def test_bench_overhead_tells_the_share_that_is_not_arithmetic(tmp_path):
    path = tmp_path / "results.json"
    output = _run("benchmarks/bench_overhead.py", "--precisions", "float32", "--rounds", "3", "--json", path)
    (row,) = json.loads(path.read_text())["results"]
    assert (row["precision"], row["row"]) == ("float32", "1x32")
    assert 0 < row["overhead"] < 1
    assert f"{row['overhead']:.1%}" in output


def test_bench_linear_has_a_row_for_each_case():
    output = _run("benchmarks/bench_linear.py", "--rows", "2,40", "--repeats", "1")
    assert len(re.findall(r"^(BERT-base|MiniLM) +(2|40) (qkv|out|ffn)", output, re.M)) == 12
