"""Several streams and several threads, one model: everybody gets the results of their own inputs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

_THREADS, _CALLS = 4, 24


@pytest.fixture
def work(make_config, make_pair, make_batch, to_target):
    """A model, batches of several buckets (and one too large to be recorded), and what they give one by one."""
    config = make_config("gelu_new-2x2x64")
    fast = make_pair("BertForSequenceClassification", config, torch.float16).fast
    lengths = [(2 + i, 5, 9) for i in range(5)] + [(64, 31) * 4, (64,) * 40]
    batches = [to_target(make_batch(config, each, seed=i)) for i, each in enumerate(lengths)]
    with torch.no_grad():
        expected = [fast(**batch).logits for batch in batches]
    return fast, batches, expected


@torch.no_grad()
def test_streams(work, target):
    fast, batches, expected = work
    results = []
    for i in range(5 * len(batches)):
        with target.stream():
            results.append(fast(**batches[i % len(batches)]).logits)
    target.finish()
    for i, result in enumerate(results):
        assert torch.equal(result, expected[i % len(batches)]), i


def test_threads_on_streams_of_their_own(work, target):
    fast, batches, expected = work
    barrier = threading.Barrier(_THREADS)

    def call(thread):
        barrier.wait(60)
        with torch.no_grad(), target.stream():
            results = [fast(**batches[(thread + i) % len(batches)]).logits for i in range(_CALLS)]
        target.finish()
        return results

    with ThreadPoolExecutor(_THREADS) as pool:
        for thread, results in enumerate(pool.map(call, range(_THREADS))):
            for i, result in enumerate(results):
                assert torch.equal(result, expected[(thread + i) % len(batches)]), (thread, i)


def test_threads_and_models(make_config, make_pair, make_batch, to_target, target):
    """Two models that record while the other one runs."""
    config = make_config("gelu-1x2x32")
    pairs = [make_pair("BertModel", config, dtype) for dtype in (torch.float32, torch.float16)]
    batches = [to_target(make_batch(config, (3 + i, 9), seed=i)) for i in range(8)]
    barrier = threading.Barrier(len(pairs))

    def call(pair):
        barrier.wait(60)
        with torch.no_grad(), target.stream():
            results = [pair.fast(**batch).last_hidden_state for batch in batches * 3]
        target.finish()
        return results

    with ThreadPoolExecutor(len(pairs)) as pool:
        for pair, results in zip(pairs, pool.map(call, pairs), strict=True):
            with torch.no_grad():
                expected = [pair.stock(**batch).last_hidden_state for batch in batches]
            for i, result in enumerate(results):
                wanted = expected[i % len(batches)]
                assert (result - wanted).norm() <= pair.bound * wanted.norm(), i
