"""Blocks that overlap in any order, in threads and generators, and calls inside of them that are for good."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import transformers
from torch import nn
from transformers.models.bert import modeling_bert

import bertfast
from bertfast import engines
from bertfast.models.accelerate import accelerate_loaded
from dropin.helpers import counted, output_of, state_of

HEAD = "BertForSequenceClassification"
SCOPES: dict[str, Callable[[nn.Module], Any]] = {
    "accelerated": bertfast.accelerated,
    "installed": lambda model: bertfast.installed(),
}


def _opened(scope: Any) -> Any:
    scope.__enter__()
    return scope


def _close(scope: Any) -> None:
    scope.__exit__(None, None, None)


def _path(model: nn.Module, batch: dict[str, Any]) -> str:
    """How a call of ``model`` ran: "fast", or "untouched" by bertfast."""
    with counted() as calls:
        output_of(model, batch)
    assert calls in ({"fast": 1}, {})
    return "fast" if calls else "untouched"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
@pytest.mark.parametrize("class_name", ["BertModel", HEAD])
def test_the_last_block_to_end_ends_it(make_pair, batch, class_name, scope, order):
    model = make_pair(class_name).stock
    before, forwards = state_of(model), (modeling_bert.BertModel.forward, getattr(modeling_bert, HEAD).forward)
    blocks = [_opened(scope(model)) for _ in order]
    for index in order:
        assert _path(model, batch) == "fast"
        assert bertfast.explain(model).first_token_only == (class_name == HEAD)
        _close(blocks[index])
    assert state_of(model) == before
    assert _path(model, batch) == "untouched"
    assert (modeling_bert.BertModel.forward, getattr(modeling_bert, HEAD).forward) == forwards


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_generators_that_wait(make_pair, batch, scope):
    model = make_pair().stock
    before = state_of(model)

    def runs() -> Any:
        with scope(model):
            while True:
                yield _path(model, batch)

    first, second = runs(), runs()
    assert (next(first), next(second)) == ("fast", "fast")
    first.close()
    assert next(second) == "fast"
    second.close()
    assert state_of(model) == before


@pytest.fixture
def _impatient_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual, so that races happen here and not at a user's."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_impatient_threads")
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_blocks_in_many_threads(make_pair, batch, scope):
    model = make_pair(HEAD).stock
    before, threads, rounds = state_of(model), 4, 25
    barrier = threading.Barrier(threads)

    def run() -> None:
        barrier.wait(30)
        for _ in range(rounds):
            with scope(model):
                output_of(model, batch)

    with counted() as calls, ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(run) for _ in range(threads)]:
            future.result(120)
    assert calls == {"fast": threads * rounds}
    assert state_of(model) == before


def test_options_of_overlapping_blocks(pair):
    """Those of the block that began last; one without options runs on with what it found."""
    bertfast.accelerate(pair.fast, pad_outputs="auto", on_fallback="raise")
    before, found = state_of(pair.fast), []
    exact, plain, zero = (
        _opened(bertfast.accelerated(pair.fast, **options))
        for options in ({"pad_outputs": "exact"}, {}, {"pad_outputs": "zero"})
    )
    for block in (None, zero, exact):
        if block is not None:
            _close(block)
        found.append(bertfast.explain(pair.fast).pad_outputs)
    assert found == ["zero", "exact", "exact"]
    _close(plain)
    assert state_of(pair.fast) == before
    assert engines.of(pair.fast).options.on_fallback == "raise"


def test_a_block_inside_counts_on_where_the_outer_one_was(make_pair, batch):
    model = make_pair().stock
    with bertfast.accelerated(model):
        output_of(model, batch)
        with bertfast.accelerated(model, pad_outputs="zero"):
            assert bertfast.explain(model).fast_calls == 0
        output_of(model, batch)
        assert bertfast.explain(model).fast_calls == 2


def test_a_block_on_a_part_of_a_model(make_pair, batch):
    model = make_pair(HEAD).stock
    whole = _opened(bertfast.accelerated(model))
    part = _opened(bertfast.accelerated(model.bert))
    _close(whole)
    assert type(model) is transformers.BertForSequenceClassification
    assert _path(model, batch) == "fast"
    _close(part)
    assert _path(model, batch) == "untouched"


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_block_that_nobody_ends_is_ended_by_the_collector(make_pair, batch, scope):
    model = make_pair().stock
    _opened(scope(model))
    gc.collect()
    assert _path(model, batch) == "untouched"


def test_an_open_block_does_not_keep_a_model_alive(make_pair, batch):
    model = make_pair().stock
    model.block = [_opened(bertfast.accelerated(model))]
    output_of(model, batch)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


# ---- Calls inside of a block that are for good.


@pytest.mark.parametrize("depth", [1, 2])
def test_accelerate_inside_of_a_block_outlives_it(make_pair, batch, depth):
    model = make_pair(HEAD).stock
    blocks = [_opened(bertfast.accelerated(model, pad_outputs="exact")) for _ in range(depth)]
    bertfast.accelerate(model, pad_outputs="zero")
    inside = state_of(model)
    for block in blocks:
        assert bertfast.explain(model).pad_outputs == "zero"
        _close(block)
    assert state_of(model) == inside
    assert type(model) is bertfast.BertForSequenceClassification
    assert _path(model, batch) == "fast"


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("was", ["stock", "fast"])
def test_restore_inside_of_a_block_outlives_it(make_pair, batch, was, depth):
    pair = make_pair(HEAD)
    model = getattr(pair, was)
    output_of(model, batch)
    blocks = [_opened(bertfast.accelerated(model)) for _ in range(depth)]
    output_of(model, batch)
    bertfast.restore(model)
    inside = state_of(model)
    for block in blocks:
        assert _path(model, batch) == "untouched"
        _close(block)
    assert state_of(model) == inside
    assert type(model.bert) is transformers.BertModel
    assert engines.held(model.bert) is None


def test_a_block_begun_after_restore_ends_where_restore_left_it(make_pair, batch):
    model = make_pair().fast
    outer = _opened(bertfast.accelerated(model))
    bertfast.restore(model)
    with bertfast.accelerated(model):
        _close(outer)
        assert _path(model, batch) == "fast"
    assert _path(model, batch) == "untouched"


def test_what_must_be_fast_from_now_on_keeps_the_options_of_a_block_to_the_block(make_pair, batch):
    """What ``bertfast.pipeline(model=...)`` does to the model that it is given."""
    model = make_pair(HEAD).stock
    with bertfast.accelerated(model, pad_outputs="zero"):
        accelerate_loaded(model, {})
        assert bertfast.explain(model).pad_outputs == "zero"
    assert type(model) is bertfast.BertForSequenceClassification
    assert bertfast.explain(model).pad_outputs == "auto"
    assert _path(model, batch) == "fast"


@pytest.mark.parametrize("made", ["stock", "fast"])
def test_an_encoder_put_in_stays_what_it_is_and_one_taken_out_is_put_back(make_pair, batch, made):
    pair, other = make_pair(HEAD), getattr(make_pair(), made)
    model, old = pair.stock, pair.stock.bert
    with bertfast.accelerated(model):
        model.bert = other
        assert _path(model, batch) == ("fast" if made == "fast" else "untouched")
        assert _path(old, batch) == "fast"
    assert _path(model, batch) == ("fast" if made == "fast" else "untouched")
    assert _path(old, batch) == "untouched"
    assert type(model) is transformers.BertForSequenceClassification


def test_an_encoder_put_in_and_accelerated_by_a_block_inside(make_pair, batch):
    model = make_pair(HEAD).stock
    outer = _opened(bertfast.accelerated(model))
    model.bert = make_pair().stock
    inner = _opened(bertfast.accelerated(model))
    _close(outer)
    assert type(model) is bertfast.BertForSequenceClassification
    assert _path(model, batch) == "fast"
    _close(inner)
    assert type(model) is transformers.BertForSequenceClassification
    assert _path(model, batch) == "untouched"


def test_a_copy_made_inside_is_accelerated_by_itself(make_pair, batch):
    model = make_pair().stock
    with bertfast.accelerated(model, pad_outputs="zero"):
        duplicate = copy.deepcopy(model)
    assert _path(model, batch) == "untouched"
    assert _path(duplicate, batch) == "fast"
    assert bertfast.explain(duplicate).pad_outputs == "zero"


def test_install_inside_of_a_block_outlives_it(make_pair, batch):
    model = make_pair().stock
    with bertfast.installed():
        bertfast.install()
    try:
        assert _path(model, batch) == "fast"
    finally:
        bertfast.uninstall()
    assert _path(model, batch) == "untouched"


def test_uninstall_inside_of_a_block_is_obeyed(make_pair, batch):
    model = make_pair().stock
    bertfast.install()
    with bertfast.installed():
        bertfast.uninstall()
        assert _path(model, batch) == "untouched"
        later = _opened(bertfast.installed())
    assert _path(model, batch) == "fast"
    _close(later)
    assert _path(model, batch) == "untouched"


@pytest.mark.parametrize("first", ["accelerated", "installed"])
def test_both_kinds_of_block_overlap(make_pair, batch, first):
    model = make_pair().stock
    before = state_of(model)
    second = next(name for name in SCOPES if name != first)
    blocks = []
    for name in (first, second):
        blocks.append(_opened(SCOPES[name](model)))
        assert _path(model, batch) == "fast"
    _close(blocks[0])
    assert _path(model, batch) == "fast"
    _close(blocks[1])
    assert state_of(model) == before
    assert _path(model, batch) == "untouched"
