"""Weights are never stale: loading, converting and training are seen by the next call."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from dropin.helpers import assert_differ, layer


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
