"""Hooks on the model and inside of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from dropin.helpers import assert_differ, encoder_of, layer
from torch import nn

from compatibility.behaviours import FALLBACK, FAST, behaviour
from compatibility.bench import Bench, assert_same, plain, same_gradients

_GROUP = "Hooks"
_CLASS = "BertForSequenceClassification"


def _hooked(name: str, where: Callable[[Any], nn.Module], path: str = FAST) -> None:
    @behaviour(_GROUP, name, "what the hook sees and changes, all outputs", path)
    def run(bench: Bench) -> None:
        pair, batch = bench.pair(_CLASS), bench.batch()
        with torch.no_grad():
            before = pair.stock(**batch)
        seen: list[Any] = []

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            seen.append(output)
            value = output if isinstance(output, torch.Tensor) else output[0]
            value.mul_(1.5)
            if not isinstance(output, torch.Tensor) and "pooler_output" in output:
                output.pooler_output = 1.5 * output.pooler_output
            return output

        for model in (pair.stock, pair.fast):
            where(model).register_forward_hook(hook)
        after = bench.same(plain(batch), pair.stock, pair.fast)
        assert len(seen) == 2
        assert_same(seen[1], seen[0])
        assert_differ(after, before)


_hooked("a forward hook on the model", lambda m: m)
_hooked("a forward hook on the encoder (`model.bert`)", encoder_of)
_hooked("a forward hook on the pooler", lambda m: m.bert.pooler)
_hooked("a forward hook on a layer", layer, FALLBACK)


@behaviour(_GROUP, "a pre-hook on the model", "all outputs")
def _pre_hook(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.register_forward_pre_hook(
            lambda module, args, kwargs: (args, {**kwargs, "input_ids": kwargs["input_ids"].flip(0)}), with_kwargs=True
        )
    assert_differ(bench.same(plain(batch), pair.stock, pair.fast), before)


@behaviour(_GROUP, "hooks on parameters and `register_full_backward_hook` on the model", "all gradients")
def _backward_hooks(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    calls: list[str] = []
    for model in (pair.stock, pair.fast):
        layer(model).output.dense.weight.register_hook(lambda gradient: calls.append("parameter") or 2 * gradient)
        model.register_full_backward_hook(lambda module, inputs, outputs: calls.append("model"))
    # torch calls the hook of a module only for a tuple.
    same_gradients(lambda m: m(**batch, return_dict=False)[0].sum(), pair.stock, pair.fast)
    assert sorted(calls) == ["model"] * 2 + ["parameter"] * 2
