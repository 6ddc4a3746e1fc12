"""`explain` of every encoder of a model: who computed what, in which precision, and what is kept."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest
import torch
from fake_gpu import FakeGpu
from precisions import MULTIPLIERS, multiply_by
from torch import nn

import bertfast
from bertfast import cpu_extension, cpu_kernels
from bertfast.backends import CpuBackend, CudaBackend
from bertfast.precision import onednn_lacks
from dropin.helpers import log_of_bertfast


class TwoTowers(nn.Module):
    """Calls its second encoder first."""

    def __init__(self, query: nn.Module, passage: nn.Module) -> None:
        super().__init__()
        self.query, self.passage = query, passage

    def forward(self, **inputs):
        passage = self.passage(**inputs).pooler_output
        return passage @ self.query(**inputs).pooler_output.t()


@pytest.fixture
def towers(make_pair) -> nn.Module:
    return TwoTowers(make_pair().fast, make_pair().fast).eval()


def _run(model, batch):
    with torch.no_grad():
        model(**batch)


def test_every_encoder_is_reported(towers, batch):
    _run(towers, batch)
    _run(towers.passage, batch)
    report = bertfast.explain(towers)
    assert (report.name, report.fast_calls) == ("query", 1)
    [other] = report.others
    assert (other.name, other.path, other.fast_calls, other.others) == ("passage", "fast", 2, ())
    text = str(report)
    assert "bertfast BertModel 'query': fast" in text
    assert "bertfast BertModel 'passage': fast" in text
    assert json.loads(json.dumps(report.as_dict()))["others"][0]["name"] == "passage"


def test_the_encoder_that_a_call_would_reach_first_comes_first(towers, batch):
    towers.passage.train()
    report = bertfast.explain(towers, **batch)
    assert (report.name, report.path, report.reason) == ("passage", "stock", "training mode")
    assert [(other.name, other.path) for other in report.others] == [("query", "not called yet")]


def test_who_computed_each_step(make_pair, batch, backend):
    pair = make_pair()
    assert bertfast.explain(pair.fast).ops == {}
    _run(pair.fast, batch)
    report = bertfast.explain(pair.fast)
    kernels = "bertfast" if cpu_extension.available() else "PyTorch"
    by = {"embedding": "PyTorch", "attention": kernels, "norm": kernels}
    assert report.ops == {"linear": backend, "activation": kernels if backend == "blas" else "PyTorch", **by}
    assert f"attention by {kernels}" in str(report)
    assert str(report).count(backend) == 1
    assert "many tokens or few" not in str(report)
    assert "many tokens or few" in str(dataclasses.replace(report, ops={"norm": "bertfast or PyTorch"}))
    pair.fast.train()
    _run(pair.fast, batch)
    assert bertfast.explain(pair.fast).ops == {}


def _ops(model, batch):
    _run(model, batch)
    return bertfast.explain(model).ops


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_who_computed_in_a_reduced_precision(make_pair, batch, precision, multiplier, monkeypatch):
    """Attention is told of by the dtype that the products leave for it."""
    multiply_by(multiplier, monkeypatch)
    pair = make_pair()
    bertfast.accelerate(pair.fast, precision=precision)
    ops = _ops(pair.fast, batch)
    fast = onednn_lacks("bfloat16") is None or cpu_kernels.has_attention(torch.bfloat16)
    dtype = torch.bfloat16 if fast else torch.float32
    assert ops["attention"] == ("bertfast" if cpu_kernels.has_attention(dtype) else "PyTorch")
    assert ops["linear"] == f"{'bertfast' if multiplier == 'native' else 'onednn'} {precision}"
    theirs = {"bfloat16": "oneDNN", "int8": "PyTorch"}[precision]
    assert ops["activation"] == ("bertfast" if multiplier == "native" else theirs)
    assert ops["norm"] == ("bertfast" if multiplier == "native" else "PyTorch")
    assert ops["embedding"] == "PyTorch"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_what_is_told_of_attention_is_what_runs(make_pair, batch, dtype, monkeypatch):
    asked, native = [], cpu_kernels.varlen_attention
    monkeypatch.setattr(cpu_kernels, "varlen_attention", lambda *given: asked.append(1) or native(*given))
    pair = make_pair(dtype=dtype)
    assert _ops(pair.fast, batch)["attention"] == ("bertfast" if asked else "PyTorch")


def test_without_the_kernels_pytorch_computes_all(make_pair, batch, monkeypatch):
    monkeypatch.setattr(cpu_extension, "available", lambda: False)
    cpu_kernels.has_attention.cache_clear()
    ops = _ops(make_pair().fast, batch)
    cpu_kernels.has_attention.cache_clear()
    assert "bertfast" not in " ".join(who for step, who in ops.items() if step != "linear")


def test_a_device_with_kernels_and_graphs(make_pair, batch, monkeypatch):
    FakeGpu().serve(monkeypatch)
    pair = make_pair()
    for _ in range(2):
        _run(pair.fast, batch)
    report = bertfast.explain(pair.fast)
    assert set(report.ops) == {"embedding", "linear", "attention", "activation", "norm"}
    assert {who for step, who in report.ops.items() if step != "linear"} == {"emulated"}
    assert report.matmul_precision == "tf32"
    assert report.cuda_graphs == 1
    assert report.buffer_bytes > 2048 * 48 * 4
    assert "kept: 1 CUDA graphs" in str(report)
    assert "matrix products in tf32" in str(report)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precision_on_a_cpu(make_pair, batch, dtype):
    pair = make_pair(dtype=dtype)
    _run(pair.fast, batch)
    report = bertfast.explain(pair.fast)
    assert report.dtype == str(dtype)
    assert report.matmul_precision == ("float32" if dtype == torch.float32 else None)
    assert report.buffer_bytes == report.cuda_graphs == 0
    assert "matrix products" not in str(report)
    assert "kept" not in str(report)


@pytest.mark.parametrize(("chosen", "cpu", "cuda"), [("highest", 0, 0), ("high", 1, 1), ("medium", 2, 1)])
def test_torchs_settings_are_told(chosen, cpu, cuda):
    names = ("float32", "tf32", "bf16")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(chosen)
        assert CpuBackend().float32_precision() == names[cpu]
        assert CudaBackend(torch.device("cuda")).float32_precision() == names[cuda]
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_line_for_each_new_reason_goes_to_the_logger(pair, batch, caplog):
    with log_of_bertfast(caplog) as records:
        for training in (True, True, False):
            pair.fast.train(training)
            for _ in range(2):
                pair.fast(**batch, output_attentions=True)
    assert [record.levelno for record in records] == [logging.INFO, logging.WARNING]
