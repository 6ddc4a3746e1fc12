"""What surrounds a call: gradients, modes, wrappers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AttentionInterface

import bertfast
from compatibility.behaviours import BOTH, FALLBACK, FAST, REFUSED, behaviour
from compatibility.bench import Bench, assert_same, gradients, plain, same_gradients

_GROUP = "Gradients and modes"
_CLASS = "BertForSequenceClassification"


def _inside(name: str, mode: Callable[[], AbstractContextManager[Any]], path: str = FAST) -> None:
    @behaviour(_GROUP, name, "all outputs", path)
    def run(bench: Bench) -> None:
        pair, batch = bench.pair(_CLASS), bench.batch()

        def call(model: nn.Module) -> Any:
            with mode():
                output = model(**batch)
            return {key: value.detach().clone() for key, value in output.items()}

        bench.same(call, pair.stock, pair.fast)


_inside("`torch.no_grad()`", torch.no_grad)
_inside("`torch.inference_mode()`", torch.inference_mode)
_inside("gradients enabled (the script has no `no_grad`)", torch.enable_grad)
_inside("`torch.device(...)` as a context", lambda: torch.device("cpu"))
_inside("autocast switched off", lambda: torch.autocast("cpu", enabled=False))
_inside("autocast", lambda: torch.autocast("cpu", dtype=torch.bfloat16), FALLBACK)
_inside("a flop counter, or another dispatch mode", lambda: FlopCounterMode(display=False), FALLBACK)


@behaviour(_GROUP, "`backward()` in eval mode", "all gradients")
def _backward(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    labels = torch.arange(5) % 2

    def loss(model: nn.Module) -> torch.Tensor:
        return model(**batch, labels=labels).loss

    same_gradients(loss, pair.stock, pair.fast)


@behaviour(_GROUP, "training mode, dropout included", "loss, all gradients", FALLBACK)
def _training_mode(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS, hidden_dropout_prob=0.3), bench.batch()
    for model in (pair.stock, pair.fast):
        model.train()

    def loss(model: nn.Module) -> torch.Tensor:
        torch.manual_seed(1)
        return model(**batch, labels=torch.arange(5) % 2).loss

    bench.same(lambda model: loss(model).detach(), pair.stock, pair.fast, 0)
    bench.same(lambda model: gradients(model, loss), pair.stock, pair.fast, 0)


@behaviour(_GROUP, "`requires_grad=False` on the encoder, a trained head", "all gradients")
def _frozen(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    for model in (pair.stock, pair.fast):
        model.bert.requires_grad_(False)

    def loss(model: nn.Module) -> torch.Tensor:
        return model(**batch, labels=torch.arange(5) % 2).loss

    same_gradients(loss, pair.stock, pair.fast)


@behaviour(_GROUP, "gradient checkpointing: training, then evaluation", "all gradients, all outputs", BOTH)
def _checkpointing(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_enable()
        model.train()

    def loss(model: nn.Module) -> torch.Tensor:
        return model(**batch, labels=torch.arange(5) % 2).loss

    bench.same(lambda model: gradients(model, loss), pair.stock, pair.fast, 0)
    bench.same(lambda model: plain(batch)(model.eval()), pair.stock, pair.fast)


@behaviour(_GROUP, "an attention function of your own (`attn_implementation`)", "all outputs", FALLBACK)
def _attention_function(bench: Bench) -> None:
    def values_only(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
        return value.transpose(1, 2), None

    AttentionInterface.register("values_only", values_only)
    try:
        pair = bench.pair()
        for model in (pair.stock, pair.fast):
            model.config._attn_implementation = "values_only"
        bench.same(plain(bench.batch()), pair.stock, pair.fast)
    finally:
        del AttentionInterface._global_mapping["values_only"]


@behaviour(_GROUP, "several threads", "all outputs")
def _threads(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    expected = plain(batch)(pair.stock)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(plain(batch)(pair.fast))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for output in found:
        assert_same(output, expected)
    assert len(found) == 4


@behaviour(_GROUP, "`DataParallel` (on a CPU it calls the module)", "all outputs, all gradients")
def _data_parallel(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    stock, fast = nn.DataParallel(pair.stock), nn.DataParallel(pair.fast)
    bench.same(plain(batch), stock, fast)
    same_gradients(lambda m: m(**batch).logits.sum(), stock, fast)


@behaviour(_GROUP, "`torch.func.functional_call` with the model's own parameters", "all outputs")
def _functional_call(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()

    def call(model: nn.Module) -> Any:
        with torch.no_grad():
            return torch.func.functional_call(model, dict(model.named_parameters()), (), batch)

    bench.same(call, pair.stock, pair.fast)


@behaviour(_GROUP, "`torch.func.functional_call` with other tensors", "all outputs", FALLBACK)
def _functional_call_with_others(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()

    def call(model: nn.Module) -> Any:
        with torch.no_grad():
            other = {name: 1.1 * p.detach() for name, p in model.named_parameters()}
            return torch.func.functional_call(model, other, (), batch)

    bench.same(call, pair.stock, pair.fast)


@behaviour(_GROUP, "`torch.func.grad` and the like", "gradients", FALLBACK)
def _functorch(bench: Bench) -> None:
    pair = bench.pair(attn_implementation="eager")
    embeds = torch.randn(2, 5, 48)

    def call(model: nn.Module) -> torch.Tensor:
        return torch.func.grad(lambda x: model(inputs_embeds=x).last_hidden_state.square().sum())(embeds)

    bench.same(call, pair.stock, pair.fast)


@behaviour(_GROUP, '`accelerate(model, on_fallback="raise")`, where stock would run', "error", REFUSED)
def _no_fallback(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    bertfast.accelerate(pair.fast, on_fallback="raise")
    pair.check(**batch)
    bench.refused(plain(batch, output_attentions=True), pair.stock, pair.fast)
