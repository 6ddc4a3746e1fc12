"""`explain` of every encoder of a model: who computed what, in which precision, and what is kept."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from fake_gpu import FakeGpu
from torch import nn

import bertfast
from bertfast.backends import CpuBackend, CudaBackend
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
    others = dict.fromkeys(("embedding", "attention", "activation", "norm"), "PyTorch")
    assert report.ops == {"linear": backend, **others}
    assert "attention by PyTorch" in str(report)
    assert str(report).count(backend) == 1
    pair.fast.train()
    _run(pair.fast, batch)
    assert bertfast.explain(pair.fast).ops == {}


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
