"""The few lines that talk to CUDA itself, with stand-ins for what torch would do there."""

from __future__ import annotations

import contextlib
import types
import warnings
import weakref

import pytest
import torch
from gpu.targets import CpuTarget, CudaTarget, choose_target

from benchmarks.gpu.timers import CudaTimer, is_alive


class _Stream:
    """events: what happened on all streams, in order; the fixture clears them."""

    events: list[str] = []  # noqa: RUF012

    def __init__(self, device=None, name="side"):
        self.name = name

    def wait_stream(self, other):
        self.events.append(f"{self.name} waits for {other.name}")


class _Graph:
    replays = 0

    def replay(self):
        type(self).replays += 1


class _Event:
    def __init__(self, enable_timing=False):
        assert enable_timing

    def record(self):
        self.at = _Graph.replays

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        """100 microseconds for each replay."""
        return 0.1 * (end.at - self.at)


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda with streams, graphs and events that only count."""
    monkeypatch.setattr(_Graph, "replays", 0)
    _Stream.events.clear()
    captured = types.SimpleNamespace(inside=False)

    @contextlib.contextmanager
    def graph(made, stream):
        captured.inside = True
        yield
        captured.inside = False

    @contextlib.contextmanager
    def stream(used):
        _Stream.events.append(f"on {used.name}")
        yield
        _Stream.events.append(f"off {used.name}")

    stand_ins = {
        "Stream": _Stream,
        "CUDAGraph": _Graph,
        "Event": _Event,
        "graph": graph,
        "stream": stream,
        "current_stream": lambda device=None: _Stream(name="current"),
        "synchronize": lambda device=None: _Stream.events.append("synchronize"),
        "empty_cache": lambda: None,
        "get_device_properties": lambda device: types.SimpleNamespace(L2_cache_size=50 << 20),
        "mem_get_info": lambda device: (30, 100),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return captured


def test_calls_are_recorded_once_and_replayed(cuda):
    calls = []

    def call(i):
        calls.append((i, cuda.inside))
        return torch.zeros(1)

    timer = CudaTimer()
    assert timer.cache_bytes == 50 << 20
    timed = timer.prepare([lambda i=i: call(i) for i in range(4)])
    # Two to warm up, then each once, recorded.
    assert calls == [(0, False), (1, False), (0, True), (1, True), (2, True), (3, True)]
    # 100 us for a replay of four calls, and as many replays as make 2 ms.
    assert timed.run_us() == pytest.approx(25)
    assert timed.replays == 20
    timer.tidy()


def test_what_was_launched_before_comes_to_pass_before_the_recording(cuda):
    """Inputs are made on one stream and read on another."""
    CudaTimer().prepare([lambda: _Stream.events.append("record" if cuda.inside else "warm up")])
    assert _Stream.events == [
        "side waits for current",
        "on side",
        "warm up",
        "off side",
        "synchronize",
        "record",
    ]


def test_results_are_kept_while_calls_are_recorded(cuda):
    """Or all of them would be written to the same memory, which a cache holds."""
    made = []

    def call():
        result = torch.zeros(1)
        if cuda.inside:
            assert all(earlier() is not None for earlier in made), "freed while recording"
            made.append(weakref.ref(result))
        return result

    CudaTimer().prepare([call] * 5)
    assert len(made) == 5
    assert all(earlier() is None for earlier in made), "kept afterwards"


def test_a_context_that_has_ended(cuda, monkeypatch):
    assert is_alive(CudaTimer())

    def fails(device):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", fails)
    assert not is_alive(CudaTimer())


def test_waits_are_counted(cuda, monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    target = CudaTarget(torch.device("cuda", 0))
    with target.count_waits() as waits:
        for _ in range(2):  # of one line, which Python would report once
            warnings.warn("called a synchronizing CUDA operation (Triggered internally at c10)", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert modes == ["warn", 0]
    assert len(waits) == 2
    assert all("test_cuda_stand_ins.py" in wait for wait in waits)


def test_memory_and_streams(cuda):
    target = CudaTarget(torch.device("cuda", 0))
    assert target.memory_bytes() == 70
    _Stream.events.clear()
    with target.stream():
        _Stream.events.append("work")
    assert _Stream.events == [
        "side waits for current",
        "on side",
        "work",
        "off side",
        "current waits for side",
    ]


def test_what_the_tests_run_on(monkeypatch):
    monkeypatch.setenv("BERTFAST_GPU_TESTS", "cpu")
    assert choose_target() == CpuTarget(torch.device("cpu"))
    monkeypatch.setenv("BERTFAST_GPU_TESTS", "tpu")
    with pytest.raises(ValueError, match="BERTFAST_GPU_TESTS='tpu': expected cuda or cpu"):
        choose_target()
    monkeypatch.setenv("BERTFAST_GPU_TESTS", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in choose_target()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_target() == CudaTarget(torch.device("cuda", 0))
