"""Ids outside of their tables are an error in Python, at the same call or the next, and never a poisoned context."""

from __future__ import annotations

import pytest
import torch

from bertfast import InputRangeError

# The number of positions decides who waits for the ids: below the backend's `memory_bound_rows` nobody does.
_SMALL, _LARGE = (9, 4, 13), (64,) * 9
_BAD = [
    ("input_ids", 97),
    ("input_ids", -1),
    ("input_ids", 2**31),
    ("input_ids", -(2**63)),
    ("token_type_ids", 2),
    ("token_type_ids", -5),
]


def _call(model, calls=2, **inputs):
    """At once or late: what a first call does not refuse, a second does."""
    for _ in range(calls):
        model(**inputs)


def _spoil(batch, name, value):
    wrong = batch[name].clone()
    wrong[1, 1] = value
    return {**batch, name: wrong}


@pytest.mark.parametrize("lengths", [_SMALL, _LARGE], ids=["small", "large"])
@pytest.mark.parametrize("mask", [True, False], ids=["mask", "no mask"])
@pytest.mark.parametrize(("name", "value"), _BAD)
@torch.no_grad()
def test_ids(name, value, mask, lengths, make_config, make_pair, make_batch, to_target, target):
    config = make_config("gelu-1x2x32")
    pair = make_pair("BertModel", config, torch.float16)
    batch = to_target(make_batch(config, lengths))
    if not mask:
        del batch["attention_mask"]
    with pytest.raises(InputRangeError, match=name):
        _call(pair.fast, **_spoil(batch, name, value))
    target.finish()
    for _ in range(3):
        pair.check(**batch)
    target.finish()


@pytest.mark.parametrize("lengths", [_SMALL, _LARGE], ids=["small", "large"])
@torch.no_grad()
def test_positions(lengths, make_config, make_pair, make_batch, to_target, target):
    config = make_config("gelu-1x2x32")
    pair = make_pair("BertModel", config, torch.float32)
    batch = to_target(make_batch(config, lengths))
    wrong = torch.full((1, max(lengths)), 64, device=target.device)
    with pytest.raises(InputRangeError, match="position_ids"):
        _call(pair.fast, **batch, position_ids=wrong)
    target.finish()


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids"])
def test_ids_on_the_host_are_refused_at_once(name, make_config, make_pair, make_batch, target):
    config = make_config("gelu-1x2x32")
    fast = make_pair("BertModel", config, torch.float32).fast
    # A CPU in the GPU's place has no other host.
    calls, message = (1, rf"^{name}: found 1000") if target.real else (2, name)
    with pytest.raises(InputRangeError, match=message):
        _call(fast, calls, **_spoil(make_batch(config), name, 1000))


@torch.no_grad()
def test_a_row_without_keys(make_config, make_pair, make_batch, to_target, target):
    """Small batches tell of it late, large ones run stock."""
    config = make_config("gelu-1x2x32")
    pair = make_pair("BertModel", config, torch.float32)
    small, large = (to_target(make_batch(config, lengths)) for lengths in (_SMALL, _LARGE))
    for batch in (small, large):
        empty = {**batch, "attention_mask": batch["attention_mask"].clone()}
        empty["attention_mask"][2] = 0
        pair.fast(**empty)
        target.finish()
        if batch is small:
            with pytest.raises(InputRangeError, match="a row without any attended token"):
                pair.fast(**batch)
        pair.check(**batch)
