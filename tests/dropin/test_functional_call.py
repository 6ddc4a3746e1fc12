"""``torch.func.functional_call``: with a model's own weights, and with others."""

from __future__ import annotations

import pytest
import torch
from tolerances import assert_same_output
from torch import nn

from dropin.helpers import assert_differ, counted


def _other_weights(model: nn.Module, kind: type) -> dict[str, torch.Tensor]:
    return {name: kind(p.detach() * 1.1) for name, p in model.named_parameters()}


def test_functional_call_with_the_own_parameters_is_fast(pair, batch):
    before = pair.check(**batch)
    parameters = dict(pair.fast.named_parameters())
    with torch.no_grad(), counted() as calls:
        output = torch.func.functional_call(pair.fast, parameters, (), batch)
    assert calls == {"fast": 1}
    assert_same_output(output, before, pair.bound)


@pytest.mark.parametrize("kind", [torch.Tensor.detach, nn.Parameter], ids=["tensors", "parameters"])
def test_functional_call_with_other_weights_uses_them(pair, batch, kind):
    before = pair.check(**batch)
    with torch.no_grad():
        expected, actual = (
            torch.func.functional_call(model, _other_weights(model, kind), (), batch)
            for model in (pair.stock, pair.fast)
        )
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)
    assert_same_output(pair.check(**batch), before, pair.bound)


@pytest.mark.parametrize("kind", [lambda t: t.clone().requires_grad_(), nn.Parameter], ids=["tensors", "parameters"])
def test_functional_call_gives_gradients_of_other_weights(pair, batch, kind):
    gradients = []
    for model in (pair.stock, pair.fast):
        weights = _other_weights(model, kind)
        output = torch.func.functional_call(model, weights, (), batch)
        output.last_hidden_state.square().sum().backward()
        gradients.append(weights["encoder.layer.0.output.dense.weight"].grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)
