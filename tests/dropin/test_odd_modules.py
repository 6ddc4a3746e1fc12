"""Modules that compute something else than transformers' own: stock runs, until they are taken out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from dropin.helpers import assert_differ, assert_falls_back, attention, layer, needs_v4


class Negated(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x):
        return -super().forward(x)


class Lora(nn.Module):
    """A frozen layer with a trained correction beside it, as peft wraps it."""

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.down = nn.Parameter(torch.full((2, base_layer.in_features), 0.1))
        self.up = nn.Parameter(torch.linspace(-1, 1, 2 * base_layer.out_features).view(-1, 2))

    def forward(self, x):
        return self.base_layer(x) + x @ self.down.t() @ self.up.t()


def _subclass(model):
    torch.manual_seed(1)
    attention(model).value = Negated(48, 48).eval()


def _class_swapped(model):
    attention(model).value.__class__ = Negated


def _lora(model):
    layer(model).output.dense = Lora(layer(model).output.dense)


def _pruned(model):
    prune.l1_unstructured(layer(model).output.dense, "weight", amount=0.5)


class _Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def _parametrized(model):
    parametrize.register_parametrization(layer(model).output.dense, "weight", _Doubled())


def _weight_normed(model):
    nn.utils.parametrizations.weight_norm(layer(model).output.dense)
    layer(model).output.dense.parametrizations.weight.original0.data.mul_(2)


def _without_bias(model):
    layer(model).output.dense.bias = None


def _odd_eps(model):
    layer(model).output.LayerNorm.eps = 0.5


def _odd_activation(model):
    layer(model).intermediate.intermediate_act_fn = nn.ReLU()


def _bounded_embedding(model):
    model.embeddings.word_embeddings.max_norm = 0.5


def _identity(model):
    layer(model).output.dropout = nn.Sequential(nn.Tanh())


def _positions_replaced(model):
    model.embeddings.position_ids = model.embeddings.position_ids.flip(1)


def _positions_in_place(model):
    model.embeddings.position_ids.copy_(model.embeddings.position_ids.flip(1).clone())


def _positions_data(model):
    model.embeddings.position_ids.data = model.embeddings.position_ids.flip(1)


def _mixed_dtypes(model):
    # Common in half precision: norms that keep their parameters in float32.
    model.bfloat16()
    layer(model).output.LayerNorm.float()


STRANGE: dict[str, tuple[Callable[[nn.Module], None], str]] = {
    "a subclass of Linear": (_subclass, "Negated"),
    "a Linear whose class was changed": (_class_swapped, "Negated"),
    "LoRA": (_lora, "output.dense"),
    "pruning": (_pruned, "output.dense"),
    "a parametrization": (_parametrized, "output.dense"),
    "weight norm": (_weight_normed, "output.dense"),
    "a Linear without bias": (_without_bias, "bias"),
    "one LayerNorm with another eps": (_odd_eps, "eps"),
    "one layer with another activation": (_odd_activation, "activation"),
    "an embedding with max_norm": (_bounded_embedding, "max_norm"),
    "another module instead of dropout": (_identity, "dropout"),
    "other position ids": (_positions_replaced, "position_ids"),
    "position ids edited in place": (_positions_in_place, "position_ids"),
    "position ids with other data": (_positions_data, "position_ids"),
    "parameters of two dtypes": (_mixed_dtypes, "torch.float32"),
}


@pytest.mark.parametrize("when", ["before the first call", "later"])
@pytest.mark.parametrize(("change", "reason"), STRANGE.values(), ids=STRANGE)
def test_an_unusual_module_runs_stock(pair, batch, caplog, change, reason, when):
    with torch.no_grad():
        before = pair.stock(**batch)
    if when == "later":
        pair.check(**batch)
    for model in (pair.stock, pair.fast):
        change(model)

    def call(model):
        with torch.no_grad():
            return model(**batch)

    assert_differ(call(pair.stock), before)
    assert_falls_back(pair, call, reason, caplog)


UNDONE: dict[str, tuple[Callable[[nn.Module], None], Callable[[nn.Module], None]]] = {
    "pruning": (_pruned, lambda m: prune.remove(layer(m).output.dense, "weight")),
    "a parametrization": (
        _parametrized,
        lambda m: parametrize.remove_parametrizations(layer(m).output.dense, "weight"),
    ),
    "LoRA": (_lora, lambda m: setattr(layer(m).output, "dense", layer(m).output.dense.base_layer)),
}


@pytest.mark.parametrize(("change", "undo"), UNDONE.values(), ids=UNDONE)
def test_what_is_made_usual_again_is_fast_again(pair, batch, backend, change, undo):
    pair.check(**batch)
    for step in (change, undo):
        for model in (pair.stock, pair.fast):
            step(model)
            with torch.no_grad():
                model(**batch)
    pair.check(**batch)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("inplace", [False, True])
def test_dynamic_quantization_runs_stock(pair, batch, caplog, inplace):
    quantization = pytest.importorskip("torch.ao.quantization")
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no quantized engine")
    before = pair.check(**batch)
    stock, fast = (
        quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8, inplace=inplace)
        for model in (pair.stock, pair.fast)
    )

    def call(model):
        with torch.no_grad():
            return model(**batch)

    assert_differ(call(stock), before)
    assert_falls_back(type(pair)(stock, fast), call, "encoder.layer.", caplog)


@needs_v4
def test_pruned_heads_run_stock(pair, batch, caplog):
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.prune_heads({0: [1], 1: [0, 2]})

    def call(model):
        with torch.no_grad():
            return model(**batch)

    assert_differ(call(pair.stock), before)
    assert_falls_back(pair, call, r"attention_head|num_attention_heads", caplog)


OVERRIDES: dict[str, Any] = {
    "feed_forward_chunk": lambda m: setattr(layer(m), "feed_forward_chunk", lambda x: x),
    "_call_impl": lambda m: setattr(layer(m).output.dense, "_call_impl", lambda x: x[..., :48]),
    "act": lambda m: setattr(layer(m).intermediate.intermediate_act_fn, "act", nn.functional.silu),
}


@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("when", ["before the first call", "later"])
def test_a_method_shadowed_on_a_module_runs_stock(make_pair, batch, caplog, name, when):
    pair = make_pair(hidden_act="gelu")
    if when == "later":
        pair.check(**batch)
    for model in (pair.stock, pair.fast):
        OVERRIDES[name](model)

    def call(model):
        with torch.no_grad():
            return model(**batch)

    assert_falls_back(pair, call, f"{name} has been replaced", caplog)
