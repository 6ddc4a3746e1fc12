"""csrc/cpu/parallel.h: loops on torch's threads, from one or several threads of Python, and their errors."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 65, 100_003])
@pytest.mark.parametrize("grain", [1, 64, 1_000_000])
def test_every_index_once(native, threads, size, grain):
    found = native._probe_parallel_for(size, grain)
    assert found["visited_once"] == size
    assert found["threads"] == min(threads, -(-size // grain))


def test_a_grain_below_one_is_one(native, threads):
    assert native._probe_parallel_for(10, 0) == {"visited_once": 10, "threads": threads}


def test_several_callers_at_once(native, threads):
    with ThreadPoolExecutor(8) as pool:
        sizes = [1000 + number for number in range(200)]
        found = list(pool.map(lambda size: native._probe_parallel_for(size, 10), sizes))
    assert [one["visited_once"] for one in found] == sizes
    assert all(1 <= one["threads"] <= threads for one in found)


@pytest.mark.parametrize("index", [0, 7, 999])
def test_an_error_reaches_the_caller(native, threads, index):
    for _ in range(20):
        with pytest.raises(IndexError, match=f"^index {index}$"):
            native._probe_parallel_for(1000, 10, index)
    assert native._probe_parallel_for(1000, 10)["visited_once"] == 1000


def test_an_error_in_a_loop_without_threads(native):
    with pytest.raises(IndexError, match=r"^index 3$"):
        native._probe_parallel_for(10, 10, 3)


def test_python_goes_on_meanwhile(native):
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(native._probe_parallel_for, 30_000_000, 1000)
        ticks = 0
        while not running.done():
            time.sleep(0.001)
            ticks += 1
    assert running.result()["visited_once"] == 30_000_000
    assert ticks > 10, "Python's lock was held"
