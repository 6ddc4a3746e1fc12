"""The bookkeeping of recordings: which shapes share one, when one is made, and which one goes."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertfast.graphs import Bucket, GraphCache, GraphLimits, bucket_lengths
from engine.recorders import FakeRecorder


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


def _run(cache: GraphCache, key: Any, value: float = 1.0, **how: Any) -> float:
    with cache.recorder.exclusive():
        return float(cache.run(key, lambda: torch.full((1,), value), **how))


@given(rows=st.integers(1, 4096), sequences=st.integers(1, 4096), longest=st.integers(1, 4096))
def test_a_bucket_holds_its_batch(rows, sequences, longest):
    bucket = Bucket.of(rows, sequences, longest)
    assert bucket.num_rows >= rows
    assert bucket.num_sequences >= sequences
    assert bucket.max_seqlen >= longest
    assert bucket == Bucket.of(*bucket), "a bucket's own sizes are in another one"
    if rows > 16:
        assert bucket.num_rows <= 1.5 * rows


def test_larger_batches_have_no_smaller_buckets():
    for size in range(1, 3000):
        smaller, larger = Bucket.of(size, size, size), Bucket.of(size + 1, size + 1, size + 1)
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))


def test_recorded_when_met_again(recorder):
    cache = GraphCache(recorder, GraphLimits())
    _run(cache, "a")
    assert recorder.made == []
    _run(cache, "a")
    _run(cache, "a")
    assert [r.replays for r in recorder.made] == [2]
    assert (len(cache), cache.num_recorded, cache.num_bytes) == (1, 1, 1000)


def test_a_warm_up_records_at_once(recorder):
    cache = GraphCache(recorder, GraphLimits())
    _run(cache, "a", record_now=True)
    assert len(recorder.made) == 1


def test_eager_runs_record_nothing_and_replay_nothing(recorder):
    cache = GraphCache(recorder, GraphLimits())
    for _ in range(3):
        _run(cache, "a", eager=True)
    assert recorder.made == []
    _run(cache, "a", record_now=True)
    _run(cache, "a", eager=True)
    assert recorder.made[0].replays == 1


def test_the_least_recently_used_goes_first(recorder):
    cache = GraphCache(recorder, GraphLimits(max_graphs=2))
    for key in "ab":
        _run(cache, key, record_now=True)
    _run(cache, "a")
    _run(cache, "c", record_now=True)  # drops b
    _run(cache, "a")
    _run(cache, "c")
    assert cache.num_recorded == 3
    _run(cache, "b", record_now=True)
    assert cache.num_recorded == 4
    assert len(cache) == 2


def test_memory_is_bounded(recorder):
    cache = GraphCache(recorder, GraphLimits(max_bytes=2500))
    for key in range(5):
        _run(cache, key, record_now=True)
        assert cache.num_bytes <= 2500
    assert len(cache) == 2


def test_what_is_larger_than_the_limit_is_not_recorded_over_and_over(recorder):
    recorder.num_bytes = 5000
    cache = GraphCache(recorder, GraphLimits(max_bytes=2500))
    for _ in range(5):
        _run(cache, "a")
    assert cache.num_recorded == 1
    assert cache.num_bytes == 0


def test_a_failure_is_told_once_and_costs_no_result(recorder, caplog):
    recorder.fails = RuntimeError("operation not permitted when stream is capturing")
    cache = GraphCache(recorder, GraphLimits())
    assert [_run(cache, "a", value) for value in (1.0, 2.0, 3.0)] == [1.0, 2.0, 3.0]
    assert _run(cache, "b", 4.0, record_now=True) == 4.0
    assert len(caplog.messages) == 1
    assert "not permitted" in caplog.text


def test_any_traffic_keeps_the_books_small(recorder):
    """10,000 random shapes: what is kept stays within the limits, and what comes back is recorded once."""
    random.seed(0)
    limits = GraphLimits(max_graphs=16, max_bytes=20_000)
    cache = GraphCache(recorder, limits)
    for _ in range(10_000):
        sequences = random.randint(1, 64)
        rows = random.randint(sequences, 2048)
        _run(cache, Bucket.of(rows, sequences, -(-rows // sequences)))
        assert len(cache) <= limits.max_graphs
        assert cache.num_bytes <= limits.max_bytes
        assert len(cache._met) <= 4 * limits.max_graphs


@pytest.mark.parametrize(("batch_size", "max_length"), [(1, 128), (8, 128), (32, 512), (64, 300)])
def test_a_warm_up_meets_every_bucket(batch_size, max_length):
    random.seed(0)
    max_rows = GraphLimits().max_rows
    batches = list(bucket_lengths(batch_size, max_length, max_rows))
    met = {Bucket.of(sum(lengths), len(lengths), max(lengths)) for lengths in batches}
    assert len(met) == len(batches) <= GraphLimits().max_graphs
    for lengths in batches:
        assert len(lengths) <= batch_size
        assert min(lengths) >= 1
        assert max(lengths) <= max_length
        assert sum(lengths) <= max_rows
    for _ in range(5000):
        lengths = [random.randint(1, max_length) for _ in range(random.randint(1, batch_size))]
        if sum(lengths) <= max_rows:
            assert Bucket.of(sum(lengths), len(lengths), max(lengths)) in met
