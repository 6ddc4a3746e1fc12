"""A call that asks for more than the fast path has runs stock: same result, counted, explained, refused alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tolerances import assert_same_output
from torch import Tensor

from dropin.helpers import (
    assert_falls_back,
    needs_v4,
    needs_v5,
    plain_call,
)


def _three_d(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = batch["attention_mask"]
    return {"attention_mask": mask.unsqueeze(1) * mask.new_ones(mask.shape[1], mask.shape[1]).tril()}


def _four_d(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"attention_mask": _three_d(batch)["attention_mask"].unsqueeze(1).bool()}


def _empty_row(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = batch["attention_mask"].clone()
    mask[1] = 0
    return {"attention_mask": mask}


class _Tagged(Tensor):
    """A tensor subclass that changes nothing."""


def _case(name: str, change: Callable[..., Any], reason: str, *marks: Any) -> Any:
    return pytest.param(change, reason, id=name, marks=marks)


CALLS = [
    _case("output_attentions", lambda b: {"output_attentions": True}, "output_attentions"),
    _case("3-D mask", _three_d, "3-D attention_mask", needs_v4),
    _case("4-D mask", _four_d, "4-D attention_mask", needs_v5),
    _case("a row without tokens", _empty_row, "a row without any attended token"),
    _case("a tensor subclass", lambda b: {"input_ids": b["input_ids"].as_subclass(_Tagged)}, "_Tagged"),
    _case("head_mask", lambda b: {"head_mask": torch.tensor([0.0, 1, 1, 0])}, "head_mask", needs_v4),
    _case("is_causal", lambda b: {"is_causal": True}, "is_causal", needs_v5),
    _case("some hidden states", lambda b: {"output_hidden_states": [0]}, "output_hidden_states", needs_v5),
    _case("1-D positions", lambda b: {"position_ids": torch.arange(13)}, "1-D position_ids", needs_v4),
    _case("an unused mask", lambda b: {"encoder_attention_mask": b["attention_mask"]}, "encoder_attention_mask"),
]


@pytest.mark.parametrize(("change", "reason"), CALLS)
def test_a_call_that_asks_for_more(make_pair, batch, caplog, change, reason):
    pair = make_pair(attn_implementation="eager") if reason == "output_attentions" else make_pair()
    pair.check(**batch)
    assert_falls_back(pair, plain_call(batch, **change(batch)), reason, caplog)


REFUSED = {
    "3-D mask": pytest.param(_three_d, marks=needs_v5),
    "4-D mask": pytest.param(_four_d, marks=needs_v4),
    "an unknown argument": pytest.param(lambda b: {"no_such_argument": 1}, marks=needs_v4),
    "an argument given twice": lambda b: {"positional": b["input_ids"]},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_call_that_stock_refuses_is_refused_alike(pair, batch, change):
    more = change(batch)
    positional = [more.pop("positional")] if "positional" in more else []
    raised = []
    for model in (pair.stock, pair.fast):
        with pytest.raises((TypeError, ValueError, RuntimeError)) as error:
            model(*positional, **{**batch, **more})
        raised.append(error)
    assert raised[1].type is raised[0].type
    assert str(raised[1].value) == str(raised[0].value)
    pair.check(**batch)


@needs_v5
def test_an_unknown_argument_is_left_to_stock(pair, batch):
    assert_same_output(plain_call(batch, no_such=1)(pair.fast), plain_call(batch, no_such=1)(pair.stock), pair.bound)
