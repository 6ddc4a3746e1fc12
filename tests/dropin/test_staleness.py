"""Weights are never stale: whatever was done to a model since its last call, the next call sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import bertfast
from bertfast.linear import MixedLinear
from dropin.helpers import assert_differ, attention, layer

# A weight of each kind: read in place, joined with others, multiplied, normalised with, looked up.
TARGETS: dict[str, Callable[[nn.Module], nn.Parameter]] = {
    "query.weight": lambda m: attention(m).query.weight,
    "value.bias": lambda m: attention(m).value.bias,
    "last key.weight": lambda m: attention(m, -1).key.weight,
    "attention.output.weight": lambda m: layer(m).attention.output.dense.weight,
    "intermediate.weight": lambda m: layer(m).intermediate.dense.weight,
    "output.bias": lambda m: layer(m, -1).output.dense.bias,
    "LayerNorm.weight": lambda m: layer(m).output.LayerNorm.weight,
    "word_embeddings": lambda m: m.embeddings.word_embeddings.weight,
}


def _in_place(p: nn.Parameter) -> None:
    with torch.no_grad():
        p.mul_(1.5).add_(0.1)


def _data_in_place(p: nn.Parameter) -> None:
    p.data.mul_(1.5).add_(0.1)


def _data_copy(p: nn.Parameter) -> None:
    p.data.copy_(p.detach() * 1.5 + 0.1)


def _data_replaced(p: nn.Parameter) -> None:
    p.data = p.detach() * 1.5 + 0.1


def _data_indexed(p: nn.Parameter) -> None:
    p.data[:] = p.detach() * 1.5 + 0.1


def _numpy(p: nn.Parameter) -> None:
    values = p.detach().numpy()
    values *= 1.5
    values += 0.1


def _init_normal(p: nn.Parameter) -> None:
    torch.manual_seed(1)
    nn.init.normal_(p)


def _init_constant(p: nn.Parameter) -> None:
    nn.init.constant_(p, 0.25)


def _swapped(p: nn.Parameter) -> None:
    torch.utils.swap_tensors(p, nn.Parameter(p.detach() * 1.5 + 0.1))


EDITS = (
    _in_place,
    _data_in_place,
    _data_copy,
    _data_replaced,
    _data_indexed,
    _numpy,
    _init_normal,
    _init_constant,
    _swapped,
)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_an_edited_parameter_is_seen(pair, batch, backend, target, edit):
    before = pair.check(**batch)
    assert bertfast.explain(pair.fast).linear_backend == backend
    for model in (pair.stock, pair.fast):
        edit(target(model))
    after = pair.check(**batch)
    assert_differ(after, before)


@pytest.mark.parametrize("rows", [(2,), (40,), (64, 64), (100, 90)], ids=["very few", "few", "fused", "many"])
@pytest.mark.parametrize("edit", [_in_place, _data_in_place, _numpy], ids=lambda edit: edit.__name__.strip("_"))
def test_an_edit_is_seen_by_any_number_of_rows(make_pair, make_batch, monkeypatch, edit, rows):
    """The default backend multiplies in one way or another, by the number of rows."""
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", "auto")
    monkeypatch.setattr(MixedLinear, "_LARGE_WEIGHT", 0)
    pair = make_pair(max_position_embeddings=128)
    batch = make_batch(pair.stock.config, rows)
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        edit(layer(model).intermediate.dense.weight)
    assert_differ(pair.check(**batch), before)


def _one_row(p: nn.Parameter) -> None:
    p.data[5] = 0


def _one_row_by_numpy(p: nn.Parameter) -> None:
    p.detach().numpy()[5] = 0


def _clamped(p: nn.Parameter) -> None:
    p.data.clamp_(-0.3, 0.3)


def _one_row_in_view(p: nn.Parameter) -> None:
    with torch.no_grad():
        p[5].zero_()


def _one_row_assigned(p: nn.Parameter) -> None:
    with torch.no_grad():
        p[5] = 0


def _one_element(p: nn.Parameter) -> None:
    p.data[5, 7] = 30


PARTS = (_one_row, _one_row_by_numpy, _clamped, _one_row_in_view, _one_row_assigned, _one_element)


@pytest.mark.parametrize("edit", PARTS, ids=lambda edit: edit.__name__.strip("_"))
def test_an_edit_of_a_part_is_seen(pair, batch, backend, edit):
    """Also by those that leave torch's version counter as it is."""
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        edit(layer(model).output.dense.weight)
    assert_differ(pair.check(**batch), before)


@pytest.mark.parametrize("transpose", ["data", "in place"])
def test_a_weight_transposed_without_moving_is_seen(pair, batch, backend, transpose):
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        weight = layer(model).attention.output.dense.weight
        if transpose == "data":
            weight.data = weight.data.t()
        else:
            with torch.no_grad():
                weight.t_()
    assert_differ(pair.check(**batch), before)


def _tied_in_one_layer(model: nn.Module) -> nn.Parameter:
    attention(model).key.weight = attention(model).query.weight
    return attention(model).query.weight


def _shared_between_layers(model: nn.Module) -> nn.Parameter:
    attention(model, 1).query = attention(model, 0).query
    return attention(model, 0).query.weight


def _shared_layer(model: nn.Module) -> nn.Parameter:
    model.encoder.layer[1] = model.encoder.layer[0]
    return attention(model, 0).query.weight


@pytest.mark.parametrize("edit", [_in_place, _data_in_place], ids=lambda edit: edit.__name__.strip("_"))
@pytest.mark.parametrize(
    "share",
    [_tied_in_one_layer, _shared_between_layers, _shared_layer],
    ids=lambda share: share.__name__.strip("_"),
)
def test_an_edit_of_a_shared_parameter_is_seen(pair, batch, backend, share, edit):
    weights = [share(pair.stock), share(pair.fast)]
    before = pair.check(**batch)
    for weight in weights:
        edit(weight)
    assert_differ(pair.check(**batch), before)
