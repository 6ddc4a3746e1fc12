"""The pipelines for token classification and fill-mask leave padding out, and give what stock's give."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest
import torch
import transformers
from tolerances import TOLERANCES, assert_close
from torch.utils.data import Dataset

import bertfast
from dropin.helpers import counted
from dropin.pipelines import TASKS, TEXTS, assert_same_result, computes_padding, drops_padding, make_pipes

WORDS = [text.split() for text in TEXTS]
LONG = [TEXTS[0], " ".join(TEXTS)]
CALLS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "none": ("token-classification", TEXTS, {"aggregation_strategy": "none"}),
    "simple": ("token-classification", TEXTS, {"aggregation_strategy": "simple"}),
    "first": ("token-classification", TEXTS, {"aggregation_strategy": "first"}),
    "average": ("token-classification", TEXTS, {"aggregation_strategy": "average"}),
    "max": ("token-classification", TEXTS, {"aggregation_strategy": "max"}),
    "every label": ("token-classification", TEXTS, {"ignore_labels": []}),
    "a label left out": ("token-classification", TEXTS, {"ignore_labels": ["LABEL_0"]}),
    "pieces of a long text": ("token-classification", LONG, {"aggregation_strategy": "simple", "stride": 4}),
    "words": ("token-classification", WORDS, {"is_split_into_words": True, "aggregation_strategy": "first"}),
    "masks": ("fill-mask", TEXTS, {"top_k": 3}),
    "targets": ("fill-mask", TEXTS, {"targets": ["cat", "dog", "house"]}),
    "padded by the tokenizer": ("fill-mask", TEXTS, {"tokenizer_kwargs": {"padding": "max_length", "max_length": 40}}),
}


@pytest.mark.parametrize("name", CALLS)
def test_padding_is_left_out(make_model, tokenizer, name):
    task, data, options = CALLS[name]
    if "stride" in options:
        tokenizer.model_max_length = 24
    stock, fast = make_pipes(make_model, tokenizer, task)
    expected = stock(data, batch_size=3, **options)
    with counted() as calls:
        assert_same_result(fast(data, batch_size=3, **options), expected)
    assert calls["stock"] == 0
    drops_padding(fast)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("task", TASKS)
def test_padding_on_either_side(make_model, tokenizer, task, side):
    tokenizer.padding_side = side
    stock, fast = make_pipes(make_model, tokenizer, task)
    assert_same_result(fast(TEXTS, batch_size=4), stock(TEXTS, batch_size=4))
    drops_padding(fast)


class Texts(Dataset):  # type: ignore[type-arg]
    """A data set, which a pipeline reads lazily."""

    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, index: int) -> str:
        return TEXTS[index]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("source", [Texts, lambda: (text for text in TEXTS)], ids=["data set", "generator"])
@pytest.mark.parametrize("task", TASKS)
def test_streams_leave_padding_out(make_model, tokenizer, task, source, workers):
    stock, fast = make_pipes(make_model, tokenizer, task)
    if workers and source is not Texts:
        pytest.skip("a generator goes to no other process")
    results = fast(source(), batch_size=3, num_workers=workers)
    assert isinstance(results, transformers.pipelines.pt_utils.PipelineIterator)
    assert_same_result(list(results), list(stock(source(), batch_size=3, num_workers=workers)))
    drops_padding(fast)


@pytest.mark.parametrize("task", TASKS)
def test_every_way_to_make_one(make_model, tokenizer, task):
    stock, _ = make_pipes(make_model, tokenizer, task)
    expected = stock(TEXTS, batch_size=4)
    model = copy.deepcopy(stock.model)
    pipe = bertfast.pipeline(task, model=model, tokenizer=tokenizer, device="cpu", batch_size=4)
    assert_same_result(pipe(TEXTS), expected)
    drops_padding(pipe)
    pipe = bertfast.accelerate(transformers.pipeline(task, model=copy.deepcopy(stock.model), tokenizer=tokenizer))
    for duplicate in (pipe, copy.deepcopy(pipe), pickle.loads(pickle.dumps(pipe))):
        assert isinstance(duplicate, type(stock))
        assert type(duplicate).__name__ == type(stock).__name__
        assert_same_result(duplicate(TEXTS, batch_size=4), expected)
        drops_padding(duplicate)
        assert type(bertfast.restore(duplicate)) is type(stock)
        assert_same_result(duplicate(TEXTS, batch_size=4), expected)


@pytest.mark.parametrize("task", TASKS)
def test_for_the_length_of_a_block(make_model, tokenizer, task):
    stock, _ = make_pipes(make_model, tokenizer, task)
    kind, expected = type(stock), stock(TEXTS, batch_size=4)
    with bertfast.accelerated(stock) as pipe:
        assert_same_result(pipe(TEXTS, batch_size=4), expected)
        drops_padding(pipe)
        waiting = iter(pipe((text for text in TEXTS), batch_size=3))
        results = [next(waiting)]
    assert type(stock) is kind
    # What was asked for inside may be read to its end.
    assert_same_result([*results, *(next(waiting) for _ in TEXTS[1:])], expected)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_put_in_later(make_model, tokenizer, task):
    stock, fast = make_pipes(make_model, tokenizer, task)
    fast(TEXTS, batch_size=4)
    with torch.no_grad():
        for parameter in stock.model.parameters():
            parameter.mul_(1.5)
    fast.model = copy.deepcopy(stock.model)
    expected = stock(TEXTS, batch_size=4)
    assert_same_result(fast(TEXTS, batch_size=4), expected)
    fast.model = bertfast.accelerate(fast.model)
    assert_same_result(fast(TEXTS, batch_size=4), expected)
    drops_padding(fast)


@pytest.mark.parametrize("task", TASKS)
def test_the_options_of_a_model_hold(make_model, tokenizer, task):
    stock, fast = make_pipes(make_model, tokenizer, task)
    bertfast.accelerate(fast, pad_outputs="exact")
    assert_same_result(fast(TEXTS, batch_size=4), stock(TEXTS, batch_size=4))
    computes_padding(fast)


def test_one_thread_reads_what_another_does_not(make_model, tokenizer):
    """``forward`` in one thread gives every position while the pipeline runs in another."""
    stock, fast = make_pipes(make_model, tokenizer, "token-classification")
    batch = dict(tokenizer(TEXTS, return_tensors="pt", padding=True, return_special_tokens_mask=True))
    batch = {**batch, "sentence": None, "is_last": True}
    expected, results = stock.forward(batch)["logits"], stock(TEXTS, batch_size=4)
    found: list[torch.Tensor] = []

    def ask() -> None:
        found.extend(fast.forward(batch)["logits"] for _ in range(20))

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(10):
        assert_same_result(fast(TEXTS, batch_size=4), results)
    thread.join()
    assert len(found) == 20
    for logits in found:
        assert_close(logits, expected, TOLERANCES[torch.float32].model)
