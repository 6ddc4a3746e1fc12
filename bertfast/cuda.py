"""What the engine asks of CUDA itself: recordings of launches, and values that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class _CudaRecording:
    graph: torch.cuda.CUDAGraph
    result: Tensor
    num_bytes: int

    def replay(self) -> Tensor:
        self.graph.replay()
        return self.result


# torch records one graph at a time in a process.
_recording = threading.Lock()


class CudaRecorder:
    """Records CUDA graphs that share one memory pool, and so may not run side by side."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        # Memory of the pool goes from one recording to the next only on one stream.
        self._stream = torch.cuda.Stream(device)
        self._lock = threading.RLock()
        self._done = torch.cuda.Event()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Inside, no other thread replays, and the current stream waits for the last one that did."""
        with self._lock:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(self._done)
            try:
                yield
            finally:
                self._done.record(stream)

    def record(self, run: Callable[[], Tensor]) -> _CudaRecording:
        """Record ``run()``. Raises RuntimeError if it does what a graph cannot hold, or memory is short."""
        current = torch.cuda.current_stream(self._device)
        with _recording, torch.cuda.device(self._device):
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                # Libraries allocate their workspaces and load their kernels in a first run.
                run()
            before = self._pool_bytes()
            graph = torch.cuda.CUDAGraph()
            # Other threads may launch and allocate meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                result = run()
            current.wait_stream(self._stream)
            return _CudaRecording(graph, result, max(0, self._pool_bytes() - before))

    def _pool_bytes(self) -> int:
        segments = torch.cuda.memory_snapshot(include_traces=False)
        return sum(s["total_size"] for s in segments if tuple(s["segment_pool_id"]) == tuple(self._pool))


def is_capturing(device: torch.device) -> bool:
    """Whether the caller is recording a CUDA graph of its own: nothing may wait for the device then."""
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def copy_to_host(values: Tensor) -> Callable[[], list[Any]]:
    """Start copying ``values`` to the host; the function that is returned waits for them."""
    if not values.is_cuda:
        copied = values.tolist()
        return lambda: copied
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(values.device))

    def wait() -> list[Any]:
        event.synchronize()
        return host.tolist()

    return wait


def math_mode() -> tuple[object, ...]:
    """The settings of torch that choose how matrices are multiplied: a recording holds for one of them."""
    matmul = torch.backends.cuda.matmul
    return (
        matmul.fp32_precision,
        matmul.allow_fp16_accumulation,
        matmul.allow_fp16_reduced_precision_reduction,
        matmul.allow_bf16_reduced_precision_reduction,
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cuda.preferred_blas_library(),
    )
