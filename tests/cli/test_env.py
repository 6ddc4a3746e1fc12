"""``bertfast env``: for people, for machines, and never with a folder of this machine in it."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import torch

from bertfast.cli import env
from bertfast.environment import describe


def test_text_and_json(process):
    text, stored = process("env"), process("env", "--json")
    assert text.code == stored.code == 0
    found = json.loads(stored.out)
    assert found["versions"]["torch"] == torch.__version__
    for part in (f"torch {torch.__version__}", "bertfast._C (CUDA kernels): ", "cpu float32: bertfast", "cpu int8: "):
        assert part in text.out
    assert "OMP_NUM_THREADS=1" in text.out
    for told in (text.out, stored.out):
        assert str(Path.home()) not in told
        assert str(Path(__file__).resolve().parents[2]) not in told
        assert getpass.getuser() == "root" or getpass.getuser() not in told


def test_a_machine_with_a_gpu(monkeypatch):
    found = describe.describe()
    gpu = {"name": "Some GPU", "compute_capability": "9.0", "multiprocessors": 132, "memory_bytes": 80 << 30}
    found |= {"gpus": [{**gpu, "l2_bytes": 50 << 20}], "driver": "580.65.06", "why_no_gpu": None}
    text = env.text(found)
    assert "GPU cuda:0: Some GPU\n  compute capability 9.0, 132 multiprocessors, 80.0 GiB, L2 50 MiB\n" in text
    assert "driver 580.65.06" in text


def test_without_torch():
    found = {**describe.describe(), "torch_problem": "torch cannot be imported: no"}
    for name in ("torch", "gpus", "driver", "why_no_gpu", "compiled", "paths", "precisions"):
        del found[name]
    assert "  torch cannot be imported: no" in env.text(found)


def test_the_norms_and_activations_are_told_as_explain_does(call):
    line = next(line for line in call("env").out.splitlines() if line.startswith("  cpu float32"))
    assert "dense layers by " in line
    assert "activation and norm by PyTorch or with the dense layers" in line
