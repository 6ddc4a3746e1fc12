"""How the kernels are timed: warm, in turn, on inputs that have left the caches, and said where not."""

from __future__ import annotations

import dataclasses
import math
import time

import pytest
import torch

from benchmarks.gpu.kernels.ceilings import Ceilings
from benchmarks.kernels import host
from benchmarks.kernels.groups import Group, Inputs
from benchmarks.kernels.host import HostTimed, HostTimer
from benchmarks.kernels.measured import Bench, Measured
from benchmarks.kernels.replay import Replay
from bertfast.roofline.work import Work

_CEILINGS = Ceilings(10e9, {"float32": 100e9, "int8": 400e9})


def _group(calls, reads=100, holds=100, errors=None, **changes):
    """calls: name -> function of the number of the inputs."""
    made = []

    def make():
        made.append(None)
        number = len(made) - 1
        return Inputs([], {name: lambda f=f: f(number) for name, f in calls.items()}, reads, holds)

    given = {"allowed": 1e-5, "errors": lambda inputs: errors or {}, **changes}
    return Group("op", "base-1x1", "float32", "cpu", Work(6e3, 4e3), tuple(calls), make, **given)


@pytest.fixture
def timer(monkeypatch):
    """Of a machine with small caches, which is warm at once."""
    monkeypatch.setattr(HostTimed, "_WARM_US", 0.0)
    monkeypatch.setattr(HostTimed, "_RUN_US", 0.0)
    timer = HostTimer()
    timer.core_cache_bytes, timer.cache_bytes = 100, 1000
    return timer


def test_the_first_sample_is_taken_warm():
    calls = []
    timed = HostTimed([lambda: calls.append(time.perf_counter())])
    assert timed.cpu_us == []
    assert len(calls) >= HostTimed._WARM_CALLS
    assert sum(calls[i + 1] - calls[i] for i in range(len(calls) - 1)) >= 0.5 * HostTimed._WARM_US / 1e6
    timed.run_us()
    assert len(timed.cpu_us) == 1


def test_a_slow_call_is_warmed_up_too(monkeypatch):
    monkeypatch.setattr(HostTimed, "_WARM_US", 0.0)
    calls = []
    HostTimed([lambda: (calls.append(None), time.sleep(0.01))])
    assert len(calls) == HostTimed._WARM_CALLS


def test_wall_and_cpu_time_are_told_apart():
    timed = HostTimed([lambda: time.sleep(0.005)])
    assert timed.run_us() >= 5000
    assert timed.cpu_us[0] < 2500


def test_a_run_is_long_beside_the_clocks():
    calls = []
    timed = HostTimed([lambda: calls.append(None)])
    before = len(calls)
    assert timed.run_us() < 100
    assert len(calls) - before > 10


def test_inputs_take_turns_and_nobody_finds_what_another_has_just_read(timer):
    log = {"a": [], "b": []}
    group = _group({name: log[name].append for name in log}, reads=300, holds=300)
    measured = Bench(timer, 3, 0.0).measured(group)
    assert (measured.num_inputs, measured.inputs_from) == (10, "memory")
    # Warm-up and rounds go on where the one before ended; the second one is half of the inputs ahead.
    assert log["a"] == list(range(6))
    assert log["b"] == [5, 6, 7, 8, 9, 0]
    assert all(len(times) == 3 for times in measured.wall_us.values())
    assert all(len(times) == 3 for times in measured.cpu_us.values())


@pytest.mark.parametrize(
    ("reads", "count", "where"),
    [(1, 200, "core's cache"), (2, 200, "last-level cache"), (30, 200, "memory"), (3000, 1, "memory")],
)
def test_where_inputs_lie_is_said(timer, reads, count, where, monkeypatch):
    monkeypatch.setattr("benchmarks.kernels.measured._MOST_INPUTS", 200)
    measured = Bench(timer, 2, 0.0).measured(_group({"a": lambda number: None}, reads=reads, holds=reads))
    assert measured.num_inputs == min(count, math.ceil(3000 / reads))
    assert measured.inputs_from == where


def test_rounds_go_on_while_there_is_time(timer):
    measured = Bench(timer, 2, 0.2).measured(_group({"a": lambda number: time.sleep(0.01)}))
    assert 10 <= len(measured.wall_us["a"]) <= 20


@pytest.mark.parametrize("error", [1e-4, math.nan])
def test_what_is_wrong_is_not_timed(timer, error):
    called = []
    group = _group({"a": called.append}, errors={"a": error})
    with pytest.raises(AssertionError, match=r"op\[base-1x1-float32\]: relative errors .*'a'.* not timed"):
        Bench(timer, 2, 0.0).measured(group)
    assert called == []


def test_a_group_is_measured_once_for_all_its_tests(timer):
    bench, group = Bench(timer, 2, 0.0), _group({"a": lambda number: None})
    measured = bench.measured(group)
    assert bench.measured(group) is measured
    assert bench.measured(dataclasses.replace(group, shape="other")) is not measured


def test_what_is_said_of_a_result():
    wall, cpu = {"a": [1.0, 2.0, 3.0], "pytorch": [4.0, 4.0, 4.0]}, {"a": [1.0, 1.0, 4.0], "pytorch": [8.0, 8.0, 8.0]}
    group = dataclasses.replace(_group({"a": None, "pytorch": None}), work=Work(6e3, 4e3, flops=1e5))
    facts = Measured(group, wall, cpu, {"a": 1e-7}, 7, "memory").facts("a", _CEILINGS)
    assert facts == {
        "gb_per_s": 5.0,
        "gflop_per_s": 50.0,
        # Both take a microsecond at their ceilings; the first counts.
        "ceiling": "copy",
        "share_of_ceiling": 0.5,
        "inputs": 7,
        "inputs_from": "memory",
        "error": 1e-7,
        "pytorch_by_this": 2.0,
        "cpu_us": 1.0,
        "pytorch_by_this_cpu": 8.0,
    }


def test_samples_are_replayed_as_they_were():
    replay, taken = Replay(), []
    for samples in ([3.0, 1.0, 2.0], [5.0]):
        replay.load(samples)
        for _ in samples:
            start = replay.read()
            replay.step()
            taken.append(replay.read() - start)
    assert taken == [3.0, 1.0, 2.0, 5.0]


def test_caches_are_read_from_the_system(tmp_path, monkeypatch):
    for number, (level, size) in enumerate([(1, "48K"), (2, "2048K"), (3, "32768K")]):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        (folder / "level").write_text(f"{level}\n")
        (folder / "size").write_text(f"{size}\n")
    monkeypatch.setattr(host, "_CACHE_FILES", tmp_path)
    assert (host.cache_bytes(2), host.cache_bytes(3)) == (2 << 20, 32 << 20)
    monkeypatch.setattr(host, "_CACHE_FILES", tmp_path / "absent")
    assert (host.cache_bytes(2), host.cache_bytes(3)) == (host._OTHERWISE[2], host._OTHERWISE[3])


def test_memory_is_bounded():
    assert 0 < HostTimer().free_bytes() <= host._MOST_MEMORY
    assert torch.device("cpu") == HostTimer().device
