"""The bookkeeping of graphs: which shapes share one, when one is captured, and which one goes."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from fake_gpu import FakeGraphPool
from hypothesis import given
from hypothesis import strategies as st

from bertfast.backends import CaptureError
from bertfast.graphs import Bucket, GraphCache, GraphLimits


@pytest.fixture
def pool() -> FakeGraphPool:
    return FakeGraphPool()


def _run(cache: GraphCache, key: Any, value: float = 1.0) -> float:
    with cache.pool.exclusive():
        return float(cache.run(key, lambda: torch.full((1,), value)))


def _capture(cache: GraphCache, key: Any) -> bool:
    with cache.pool.exclusive():
        return cache.capture(key, lambda: torch.ones(1))


@given(rows=st.integers(1, 4096), sequences=st.integers(1, 4096), longest=st.integers(1, 4096))
def test_a_bucket_holds_its_batch(rows, sequences, longest):
    bucket = Bucket.of(rows, sequences, longest)
    assert bucket.num_rows >= rows
    assert bucket.num_sequences >= sequences
    assert bucket.max_seqlen >= longest
    assert bucket == Bucket.of(*bucket), "a bucket's own sizes are in another one"
    if rows > 48:
        assert bucket.num_rows <= 1.5 * rows


def test_larger_batches_have_no_smaller_buckets():
    for size in range(1, 3000):
        smaller, larger = Bucket.of(size, size, size), Bucket.of(size + 1, size + 1, size + 1)
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))


def test_captured_when_met_again(pool):
    cache = GraphCache(pool, GraphLimits())
    _run(cache, "a")
    assert pool.captured == []
    _run(cache, "a")
    _run(cache, "a")
    assert [r.replays for r in pool.captured] == [2]
    assert (len(cache), cache.num_captured, cache.num_bytes) == (1, 1, 1000)


def test_captured_at_once_if_asked(pool):
    cache = GraphCache(pool, GraphLimits())
    _capture(cache, "a")
    assert len(pool.captured) == 1


def test_the_least_recently_used_goes_first(pool):
    cache = GraphCache(pool, GraphLimits(max_graphs=2))
    for key in "ab":
        _capture(cache, key)
    _run(cache, "a")
    _capture(cache, "c")  # drops b
    _run(cache, "a")
    _run(cache, "c")
    assert cache.num_captured == 3
    _capture(cache, "b")
    assert cache.num_captured == 4
    assert len(cache) == 2


def test_memory_is_bounded(pool):
    """Dropped graphs leave their memory to the pool, so the pool is given up with all that it holds."""
    cache = GraphCache(pool, GraphLimits(max_bytes=2500))
    for key in range(8):
        _capture(cache, key)
        assert cache.num_bytes <= 2500
    assert len(cache) == 2
    _run(cache, 2)  # dropped: met before, so it is captured again
    assert cache.num_captured == 9


def test_what_is_larger_than_the_limit_is_not_captured_over_and_over(pool):
    pool.graph_bytes = 5000
    cache = GraphCache(pool, GraphLimits(max_bytes=2500))
    for _ in range(5):
        assert _run(cache, "a", 3.0) == 3.0
        assert not _capture(cache, "a")
    assert cache.num_captured == 1
    assert cache.num_bytes == 0


def test_failures_are_told_and_cost_no_result(pool, caplog):
    pool.fails = CaptureError("operation not permitted when stream is capturing")
    cache = GraphCache(pool, GraphLimits())
    assert [_run(cache, "a", value) for value in (1.0, 2.0, 3.0)] == [1.0, 2.0, 3.0]
    assert not _capture(cache, "b")
    assert not _capture(cache, "c")
    assert _run(cache, "b", 4.0) == 4.0
    assert ["could not be captured" in text for text in caplog.messages] == [True, True, False]
    assert "are off for this model: operation not permitted" in caplog.messages[-1]


def test_one_failure_is_forgiven(pool):
    cache = GraphCache(pool, GraphLimits())
    pool.fails = CaptureError("another thread synchronised the device")
    assert not _capture(cache, "a")
    pool.fails = None
    assert _capture(cache, "a")


def test_any_traffic_keeps_the_books_small(pool):
    """10,000 random shapes: what is kept stays within the limits, and what comes back is recorded once."""
    random.seed(0)
    limits = GraphLimits(max_graphs=16, max_bytes=20_000)
    cache = GraphCache(pool, limits)
    for _ in range(10_000):
        sequences = random.randint(1, 64)
        rows = random.randint(sequences, 2048)
        _run(cache, Bucket.of(rows, sequences, -(-rows // sequences)))
        assert len(cache) <= limits.max_graphs
        assert cache.num_bytes <= limits.max_bytes
        assert len(cache._met) <= 4 * limits.max_graphs


@pytest.mark.parametrize(("batch_size", "max_length"), [(1, 128), (8, 128), (32, 512), (128, 300)])
def test_every_bucket_up_to_a_size(batch_size, max_length):
    random.seed(0)
    max_rows = GraphLimits().max_rows
    buckets = Bucket.up_to(batch_size, max_length, max_rows)
    assert len(set(buckets)) == len(buckets)
    largest = Bucket.of(min(batch_size * max_length, max_rows), batch_size, max_length)
    assert all(size <= most for bucket in buckets for size, most in zip(bucket, largest, strict=True))
    for _ in range(5000):
        lengths = [random.randint(1, max_length) for _ in range(random.randint(1, batch_size))]
        if sum(lengths) <= max_rows:
            assert Bucket.of(sum(lengths), len(lengths), max(lengths)) in buckets


def test_buckets_up_to_a_small_size_are_those_that_are_met():
    batches = [lengths for count in (1, 2, 3) for lengths in itertools.product(range(1, 8), repeat=count)]
    met = {Bucket.of(sum(lengths), len(lengths), max(lengths)) for lengths in batches}
    assert set(Bucket.up_to(3, 7, 2048)) == met
    assert Bucket.up_to(10**9, 10**9, 16) == [Bucket(16, n, 64) for n in (1, 4, 16)]
