"""Blocks that overlap in any order, in threads and generators."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import transformers
from transformers.models.bert import modeling_bert

import bertfast
from bertfast import engines
from dropin.blocks import HEAD, SCOPES, close, opened, path_of
from dropin.helpers import counted, output_of, state_of


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
@pytest.mark.parametrize("class_name", ["BertModel", HEAD])
def test_the_last_block_to_end_ends_it(make_pair, batch, class_name, scope, order):
    model = make_pair(class_name).stock
    before, forwards = state_of(model), (modeling_bert.BertModel.forward, getattr(modeling_bert, HEAD).forward)
    blocks = [opened(scope(model)) for _ in order]
    for index in order:
        assert path_of(model, batch) == "fast"
        assert bertfast.explain(model).first_token_only == (class_name == HEAD)
        close(blocks[index])
    assert state_of(model) == before
    assert path_of(model, batch) == "untouched"
    assert (modeling_bert.BertModel.forward, getattr(modeling_bert, HEAD).forward) == forwards


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_generators_that_wait(make_pair, batch, scope):
    model = make_pair().stock
    before = state_of(model)

    def runs() -> Any:
        with scope(model):
            while True:
                yield path_of(model, batch)

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
        opened(bertfast.accelerated(pair.fast, **options))
        for options in ({"pad_outputs": "exact"}, {}, {"pad_outputs": "zero"})
    )
    for block in (None, zero, exact):
        if block is not None:
            close(block)
        found.append(bertfast.explain(pair.fast).pad_outputs)
    assert found == ["zero", "exact", "exact"]
    close(plain)
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
    whole = opened(bertfast.accelerated(model))
    part = opened(bertfast.accelerated(model.bert))
    close(whole)
    assert type(model) is transformers.BertForSequenceClassification
    assert path_of(model, batch) == "fast"
    close(part)
    assert path_of(model, batch) == "untouched"


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_block_that_nobody_ends_is_ended_by_the_collector(make_pair, batch, scope):
    model = make_pair().stock
    opened(scope(model))
    gc.collect()
    assert path_of(model, batch) == "untouched"


def test_an_open_block_does_not_keep_a_model_alive(make_pair, batch):
    model = make_pair().stock
    model.block = [opened(bertfast.accelerated(model))]
    output_of(model, batch)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
