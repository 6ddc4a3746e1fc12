"""Workers in processes of their own."""

from __future__ import annotations

import os
import re

import pytest

from bertfast.bench.timing import CandidateError, Run, Worker, interleaved, timing_of


def make_counter():
    """Returns the arguments of all calls so far."""
    calls = []

    def call(step=None):
        calls.append(step)
        return calls

    return call


def make_error():
    raise ValueError("no\nsuch thing: /srv/secret/file")


def make_end():
    os._exit(3)


def make_late_end():
    return lambda step=None: None if step is None else os._exit(3)


def test_workers_take_turns_and_warm_up_before():
    worker = Worker(make_counter, warmup=3)
    seen = []
    runs = interleaved({"one": worker}, 2, [(0,), (1,)], lambda: seen.append(1))
    assert worker.result == [None] * 3
    worker.close()
    assert len(runs["one"]) == len(seen) == 4
    assert all(run.peak_rss_mib >= run.rss_mib > 1 for run in runs["one"])


@pytest.mark.parametrize(
    ("make", "reason"),
    [(make_error, "ValueError: no such thing: .../file"), (make_end, "its process ended with exit code 3")],
)
def test_a_worker_that_cannot_be_made_ready_says_why(make, reason):
    worker = Worker(make)
    assert worker.failure() == reason
    with pytest.raises(CandidateError, match=re.escape(reason)):
        _ = worker.result
    with pytest.raises(CandidateError, match=re.escape(f"one: {reason}")):
        interleaved({"one": worker}, 2)
    worker.close()


def test_a_worker_that_ends_while_it_is_timed_says_so():
    worker = Worker(make_late_end)
    with pytest.raises(CandidateError, match="its process ended with exit code 3"):
        worker.run(1)
    worker.close()


def test_percentiles_are_of_wall_time_and_memory_is_the_last():
    timing = timing_of([Run(float(i), 10.0 * i, 100.0 + i, 50.0) for i in range(101)])
    assert (timing.cpu_ms, timing.cpu_ms_q1, timing.cpu_ms_q3) == (50, 25, 75)
    assert (timing.wall_ms, timing.wall_ms_p90, timing.wall_ms_p99) == pytest.approx((500, 900, 990))
    assert (timing.peak_rss_mib, timing.rss_mib) == (200, 50)
