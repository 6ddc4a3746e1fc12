"""torch's compilers and tracers."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from compatibility.behaviours import FALLBACK, TRACED, behaviour
from compatibility.bench import BOUND, Bench, assert_same, plain

_GROUP = "Compilers"
_CLASS = "BertForSequenceClassification"


@behaviour(_GROUP, "`torch.compile(model, fullgraph=True)`: no graph break", "all outputs", TRACED)
def _compile(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    expected = plain(batch)(pair.stock)
    torch._dynamo.reset()
    compiled = torch.compile(pair.fast, backend="eager", fullgraph=True)
    assert_same(plain(batch)(compiled).logits, expected.logits, BOUND)


@behaviour(_GROUP, "`torch.compile(model)`, then the model itself", "all outputs")
def _compile_and_call(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    torch._dynamo.reset()
    bench.same(plain(batch), pair.stock, torch.compile(pair.fast, backend="aot_eager"))
    bench.same(plain(batch), pair.stock, pair.fast)


@behaviour(_GROUP, "`torch.compile(model)` with inductor", "all outputs", TRACED, slow=True)
def _inductor(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    torch._dynamo.reset()
    bench.same(plain(batch), pair.stock, torch.compile(pair.fast))


@behaviour(_GROUP, "`torch.export`", "all outputs", TRACED)
def _export(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()

    def call(model: nn.Module) -> Any:
        with torch.no_grad():
            return torch.export.export(model, (), kwargs=batch, strict=False).module()(**batch).logits

    assert_same(call(pair.fast), plain(batch)(pair.stock).logits, BOUND)


@behaviour(_GROUP, "`torch.jit.trace`", "all outputs, on other inputs", FALLBACK)
def _trace(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    other = {name: value.roll(1, 0) for name, value in batch.items()}

    def call(model: nn.Module) -> Any:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(model, example_kwarg_inputs=batch, strict=False, check_trace=False)
            return dict(traced(**other))

    bench.same(call, pair.stock, pair.fast)
