"""What the backend asks of CUDA, in which order, with stand-ins for torch.cuda."""

from __future__ import annotations

import contextlib
import re
import threading
import types
from pathlib import Path

import pytest
import torch

from bertfast import extension
from bertfast.backends import CaptureError, CudaBackend, cuda

_DEVICE = torch.device("cuda", 1)


class _Log(list):
    """What happened, in order. error: what waiting raises."""

    error = None

    def stream(self, name):
        log = self

        class Stream:
            def __repr__(self):
                return name

            def wait_stream(self, other):
                log.append(f"{name} waits for {other}")

            def wait_event(self, event):
                log.append(f"{name} waits for the event")

            def synchronize(self):
                log.append(f"the host waits for {name}")
                if log.error is not None:
                    raise log.error

        return Stream()


class _Event:
    def __init__(self, log):
        self._log = log

    def record(self, stream):
        self._log.append(f"event on {stream}")

    def synchronize(self):
        self._log.append("the host waits")


@pytest.fixture
def log(monkeypatch):
    """torch.cuda with one device, on which the caller's stream is "current"."""
    log = _Log()
    names = iter(["capture", "warm-up"])
    current = log.stream("current")

    @contextlib.contextmanager
    def inside(what):
        log.append(f"enter {what}")
        yield
        log.append(f"leave {what}")

    def graph(made, pool, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        assert pool == (0, 7)
        return inside(f"graph on {stream}")

    segments = [
        {"segment_pool_id": (0, 7), "total_size": 30},
        {"segment_pool_id": (0, 0), "total_size": 500},
        {"segment_pool_id": (0, 7), "total_size": 12},
    ]
    stand_ins = {
        "graph_pool_handle": lambda: (0, 7),
        "Stream": lambda device: log.stream(next(names)),
        "Event": lambda: _Event(log),
        "current_stream": lambda device: current,
        "stream": lambda stream: inside(stream),
        "device": lambda device: inside(device),
        "graph": graph,
        "CUDAGraph": lambda: types.SimpleNamespace(replay=lambda: log.append("replay")),
        "memory_snapshot": lambda include_traces: segments,
        "is_current_stream_capturing": lambda: True,
        "get_device_capability": lambda device: (7, 5),
        "get_device_name": lambda device: "Some GPU",
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return log


@pytest.fixture
def pool(log):
    return CudaBackend(_DEVICE).make_graph_pool()


def test_capture(log, pool):
    def run():
        log.append("run")
        return torch.ones(1)

    graph = pool.capture(run)
    assert log == [
        "enter cuda:1",
        "warm-up waits for current",
        "enter warm-up",
        "run",
        "leave warm-up",
        "capture waits for warm-up",
        "enter graph on capture",
        "run",
        "leave graph on capture",
        "current waits for capture",
        "leave cuda:1",
    ]
    assert torch.equal(graph.replay(), torch.ones(1))
    assert log[-1] == "replay"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("operation not permitted when stream is capturing"), CaptureError),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
    ],
)
def test_what_a_graph_cannot_hold(error, expected, pool):
    """Apart from what the launches raise by themselves."""
    runs = []

    def run():
        runs.append(1)
        if len(runs) > 1:
            raise error

    with pytest.raises(expected, match=str(error)):
        pool.capture(run)
    with pytest.raises(ZeroDivisionError):
        pool.capture(lambda: 1 / 0)


def _accelerator_error(code):
    error = torch.AcceleratorError("CUDA error: some text")
    error.error_code = code
    return error


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (None, False),
        (_accelerator_error(700), True),
        (_accelerator_error(710), True),
        (RuntimeError("CUDA error: unspecified launch failure"), True),
        # Another thread's capture does not allow to wait.
        (_accelerator_error(900), False),
        (_accelerator_error(906), False),
    ],
)
def test_a_device_that_has_failed(error, failed, log, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    log.error = error
    assert CudaBackend(_DEVICE).failure() is (error if failed else None)
    assert log[-1] == "the host waits for current"


def test_inside_of_a_capture_nobody_waits(log):
    assert CudaBackend(_DEVICE).failure() is None
    assert log == ["enter cuda:1", "leave cuda:1"]


def test_replays_of_a_pool_follow_each_other(log, pool):
    def fail():
        with pool.exclusive():
            log.append("inside")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert log == ["current waits for the event", "inside", "event on current"]


def test_one_capture_at_a_time_in_a_process(log, pool):
    inside = threading.Event()
    thread = threading.Thread(target=pool.capture, args=(lambda: inside.set() or torch.ones(1),))
    with cuda._capturing:
        thread.start()
        assert not inside.wait(0.2)
    thread.join(30)
    assert inside.is_set()


def test_memory_of_a_pool(pool):
    assert pool.num_bytes() == 42


def test_copies_to_the_host_are_not_waited_for(log, monkeypatch):
    pinned = []
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *s, pin_memory, **k: pinned.append(pin_memory) or empty(*s, **k))
    values = torch.tensor([3, 4])
    wait = CudaBackend(_DEVICE).copy_to_host(values)
    assert log == ["event on current"]
    assert pinned == [True]
    assert wait() == [3, 4]
    assert log[-1] == "the host waits"


def test_the_stream_of_the_models_device_is_asked(log):
    assert CudaBackend(_DEVICE).is_capturing()
    assert log == ["enter cuda:1", "leave cuda:1"]


def test_the_math_mode_changes_with_torchs_settings():
    backend = CudaBackend(_DEVICE)
    before = backend.math_mode()
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert len({before, backend.math_mode()}) == 2
    finally:
        torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize(
    ("dtype", "sizes", "reason"),
    [
        (torch.float64, (768, 64), r"torch.float64 on cuda:1: the kernels compute in float32"),
        (torch.float16, (768, 257), r"head size 257 on cuda:1: the kernels take 8192 and 256"),
        (torch.float16, (8200, 64), r"hidden size 8200"),
        (torch.bfloat16, (768, 64), r"torch.bfloat16 on Some GPU: it takes compute capability 8.0"),
        (torch.float16, (768, 64), "no binary"),
    ],
)
def test_what_is_not_served(dtype, sizes, reason, log, monkeypatch):
    monkeypatch.setattr(extension, "why_not_on", lambda capability: f"no binary for {capability}")
    assert re.search(reason, CudaBackend(_DEVICE).unserved(dtype, *sizes))


def test_limits_are_those_of_the_kernels():
    header = (Path(cuda.__file__).parents[2] / "csrc" / "kernels" / "limits.h").read_text()
    limits = dict(re.findall(r"constexpr int (kMax\w+) = (\d+);", header))
    assert int(limits["kMaxHeadSize"]) == cuda.MAX_HEAD_SIZE
    assert int(limits["kMaxHiddenSize"]) == cuda.MAX_HIDDEN_SIZE
