"""Weights are never stale: an edit through whatever else holds their memory is seen by the next call."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from dropin.helpers import assert_differ, attention


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
