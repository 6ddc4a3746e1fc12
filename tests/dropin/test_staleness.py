"""Weights are never stale: whatever was done to a model since its last call, the next call sees it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

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


@pytest.mark.parametrize("rows", [(2,), (40,), (100, 90)], ids=["very few rows", "few rows", "many rows"])
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


def _state_dict(model: nn.Module) -> Callable[[], None]:
    state = model.state_dict()

    def edit() -> None:
        for value in state.values():
            value.mul_(1.1)

    return edit


def _numpy_array(model: nn.Module) -> Callable[[], None]:
    array = attention(model).query.weight.detach().numpy()

    def edit() -> None:
        array[:] = array * 1.5 + 0.1

    return edit


def _flat_buffer(model: nn.Module) -> Callable[[], None]:
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    nn.utils.vector_to_parameters(flat, model.parameters())

    def edit() -> None:
        flat.mul_(1.1)

    return edit


def _twin(model: nn.Module) -> Callable[[], None]:
    twin = type(model)(model.config)
    twin.load_state_dict(model.state_dict(), assign=True)

    def edit() -> None:
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(1.1)

    return edit


@pytest.mark.parametrize("taken", ["before the first call", "later"])
@pytest.mark.parametrize(
    "alias", [_state_dict, _numpy_array, _flat_buffer, _twin], ids=lambda alias: alias.__name__.strip("_")
)
def test_an_edit_through_an_alias_is_seen(pair, batch, backend, alias, taken):
    """Others hold the same memory, and torch lets them write to it: for averaging, pruning, flat optimizers."""
    if taken == "later":
        pair.check(**batch)
    edits = [alias(pair.stock), alias(pair.fast)]
    before = pair.check(**batch)
    for edit in edits:
        edit()
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


@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_load_state_dict_is_seen(pair, batch, backend, assign):
    before = pair.check(**batch)
    state = {name: value * 1.1 for name, value in pair.stock.state_dict().items()}
    for model in (pair.stock, pair.fast):
        model.load_state_dict({name: value.clone() for name, value in state.items()}, assign=assign)
    assert_differ(pair.check(**batch), before)


CONVERSIONS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "half": lambda m: m.half(),
    "bfloat16": lambda m: m.bfloat16(),
    "double": lambda m: m.double(),
    "to(bfloat16)": lambda m: m.to(torch.bfloat16),
    "to(cpu, float64)": lambda m: m.to("cpu", torch.float64),
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_a_change_of_dtype_and_back_is_seen(pair, batch, backend, convert):
    pair.check(**batch)
    for model in (pair.stock, pair.fast):
        convert(model)
    assert pair.check(**batch)[0].dtype == next(pair.stock.parameters()).dtype
    for model in (pair.stock, pair.fast):
        model.float()
    pair.check(**batch)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.05, foreach=False),
    "SGD foreach": lambda parameters: torch.optim.SGD(parameters, lr=0.05, foreach=True),
    "AdamW fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
}


def _losses(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]) -> list[float]:
    losses = []
    for _ in range(4):
        loss = model(**batch).last_hidden_state[:, 0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_step_is_seen(pair, batch, backend, all_fast, make_optimizer):
    # Made before the first call, as scripts do: it must go on with the very parameters that the model uses.
    optimizers = [make_optimizer(list(model.parameters())) for model in (pair.stock, pair.fast)]
    expected = _losses(pair.stock, optimizers[0], batch)
    with all_fast(pair.fast, calls=4):
        losses = _losses(pair.fast, optimizers[1], batch)
    assert min(abs(a - b) for a, b in pairwise(losses)) > 1e-3
    assert losses == pytest.approx(expected, rel=1e-4)


def test_training_and_evaluating_in_turn(pair, batch, backend):
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.05) for model in (pair.stock, pair.fast)]
    before = pair.check(**batch)
    for _ in range(2):
        for model, optimizer in zip((pair.stock, pair.fast), optimizers, strict=True):
            model.train()
            optimizer.zero_grad()
            model(**batch).last_hidden_state[:, 0].square().mean().backward()
            optimizer.step()
            model.eval()
        after = pair.check(**batch)
        assert_differ(after, before)
        before = after


def test_requires_grad_is_read_at_every_call(pair, batch, backend):
    for requires_grad in (False, True, False):
        for model in (pair.stock, pair.fast):
            model.requires_grad_(requires_grad)
        outputs = [model(**batch).last_hidden_state for model in (pair.stock, pair.fast)]
        assert [output.requires_grad for output in outputs] == [requires_grad] * 2
        pair.check(**batch)

    for model in (pair.stock, pair.fast):
        layer(model).output.dense.bias.requires_grad_(True)
        model(**batch).last_hidden_state.sum().backward()
    found, expected = ({n for n, p in m.named_parameters() if p.grad is not None} for m in (pair.fast, pair.stock))
    assert found == expected == {"encoder.layer.0.output.dense.bias"}
