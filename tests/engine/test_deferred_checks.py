"""Bad values in a device's memory are refused: at once where the values are waited for, else by a later call."""

from __future__ import annotations

import pytest
import torch

import bertfast
from bertfast import InputRangeError, engines


def _bad(batch, name, value):
    wrong = batch[name].clone()
    wrong[1, 1] = value
    return {**batch, name: wrong}


_BAD_IDS = [("input_ids", 97), ("input_ids", -1), ("token_type_ids", 3), ("input_ids", -(2**63))]


@pytest.mark.parametrize(("name", "value"), _BAD_IDS)
def test_ids_are_refused_at_once_by_who_waits(name, value, make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu()
    config = make_config("relu-3x3x5")
    fast, batch = stock_and_fast("BertModel", config).fast, make_batch(config)
    with pytest.raises(InputRangeError, match=rf"^{name}: found {value}, but the ids"):
        fast(**_bad(batch, name, value))
    fast(**batch)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(("name", "value"), _BAD_IDS)
def test_ids_are_refused_by_the_next_call(name, value, mask, make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    if not mask:
        del batch["attention_mask"]
    pair.fast(**_bad(batch, name, value))
    with pytest.raises(InputRangeError, match=rf"^an earlier call .*{name} outside of 0 to \d+, and its outputs"):
        pair.fast(**batch)
    pair.check(**batch)


def test_positions_are_refused_by_the_next_call(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.fast(**batch, position_ids=torch.full((1, 13), 64))
    with pytest.raises(InputRangeError, match="position_ids outside of 0 to 63"):
        pair.fast(**batch)
    pair.check(**batch)


def test_a_row_without_keys(make_config, make_gpu, stock_and_fast, make_batch):
    config = make_config("relu-3x3x5")
    batch = make_batch(config)
    empty = {**batch, "attention_mask": batch["attention_mask"].clone()}
    empty["attention_mask"][2] = 0
    make_gpu()
    waiting = stock_and_fast("BertModel", config).fast
    assert bertfast.explain(waiting, **empty).reason == "a row without any attended token"
    make_gpu(rows=10_000)
    pair = stock_and_fast("BertModel", config)
    pair.fast(**empty)
    with pytest.raises(InputRangeError, match="a row without any attended token"):
        pair.fast(**batch)
    pair.check(**batch)


def test_what_nobody_waited_for_is_not_reported(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.check(**batch)
    report = bertfast.explain(pair.fast)
    assert (report.real_tokens, report.computed_tokens, report.padded_tokens) == (None, 65, 65)
    assert "uncounted" in str(report)


def test_nothing_waits_inside_of_the_callers_graph(make_config, make_gpu, stock_and_fast, make_batch):
    gpu = make_gpu()
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.fast(input_ids=batch["input_ids"])  # leaves a check that waits for the device
    gpu.capturing = True
    pair.check(**batch)
    assert bertfast.explain(pair.fast).real_tokens is None
    assert len(engines.of(pair.fast)._deferred) == 1
    gpu.capturing = False
    pair.check(**batch)


def test_a_question_is_told_nothing_of_earlier_calls(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.fast(**_bad(batch, "input_ids", -1))
    assert bertfast.explain(pair.fast, **batch).path == "fast"
    with pytest.raises(InputRangeError, match="input_ids outside of 0 to 96"):
        pair.fast(**batch)


def test_checks_after_one_that_raises_are_not_lost(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    fast, batch = stock_and_fast("BertModel", config).fast, make_batch(config)
    checks = engines.of(fast)._deferred
    for value in (-1, 97):
        fast(**_bad(batch, "input_ids", value))
        checks, engines.of(fast)._deferred = engines.of(fast)._deferred, checks.__class__()
    both = checks._pending + engines.of(fast)._deferred._pending
    engines.of(fast)._deferred._pending = both
    for _ in both:
        with pytest.raises(InputRangeError):
            fast(**batch)
    fast(**batch)
