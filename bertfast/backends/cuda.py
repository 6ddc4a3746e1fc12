"""CUDA: what waits for the device, and graphs of launches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertfast import extension
from bertfast.backends.backend import CaptureError
from bertfast.errors import PrecisionError
from bertfast.faults import is_out_of_memory
from bertfast.linear import FixedRowsPortable, Linear, PortableLinear
from bertfast.ops import first_token_attention, varlen_attention
from bertfast.packing import Sequences
from bertfast.precision import Choice, check_float32, is_own

# Of the kernels: csrc/kernels/limits.h.
MAX_HEAD_SIZE = 256
MAX_HIDDEN_SIZE = 8192
_KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# An H100 computes 990 TFLOP/s in 16 bits and 67 in float32 while it reads 3.35 TB/s (its data sheet): a weight that is
# read once serves 295 rows in 16 bits, and 40 in float32.
_MEMORY_BOUND_ROWS = {torch.float16: 256, torch.bfloat16: 256, torch.float32: 32}
# cudaErrorStreamCapture...: what is not allowed, or not now.
_OF_CAPTURES = range(900, 910)
# torch captures one graph at a time in a process.
_capturing = threading.Lock()


class CudaBackend:
    """See `Backend`."""

    packs_on_device = True
    ops = "CUDA kernel"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def resolve(self, asked: str | None, dtype: torch.dtype) -> Choice:
        if asked is None or asked == "auto" or is_own(asked, dtype):
            return Choice()
        if asked == "float32":
            check_float32(asked, dtype)
        raise PrecisionError(
            f"precision={asked!r}: the weights are on {self._device}, expected cpu; on a GPU the dtype of the model "
            "decides: model.to(torch.bfloat16)"
        )

    def linear(self, dtype: torch.dtype, precision: str | None = None, invariant: bool = False) -> type[Linear]:
        return FixedRowsPortable if invariant else PortableLinear

    def attention(self, qkv: Tensor, sequences: Sequences, scale: float) -> Tensor:
        return varlen_attention(qkv, sequences.cu_seqlens, sequences.key_lengths, sequences.max_seqlen, scale)

    def attention_by(self, dtype: torch.dtype) -> str:
        return self.ops

    def first_token_attention(self, query: Tensor, key_value: Tensor, sequences: Sequences, scale: float) -> Tensor:
        return first_token_attention(query, key_value, sequences.cu_seqlens, sequences.key_lengths, scale)

    def block_rows(self, precision: str | None) -> int | None:
        return None

    def padded_rows(self, num_rows: int, dtype: torch.dtype, precision: str | None) -> int:
        return num_rows

    def memory_bound_rows(self, dtype: torch.dtype) -> int:
        return _MEMORY_BOUND_ROWS[dtype]

    def unserved(self, dtype: torch.dtype, hidden_size: int, head_size: int) -> str | None:
        if dtype not in _KERNEL_DTYPES:
            return f"{dtype} on {self._device}: the kernels compute in float32, float16 and bfloat16"
        if hidden_size > MAX_HIDDEN_SIZE or head_size > MAX_HEAD_SIZE:
            return (
                f"hidden size {hidden_size} and head size {head_size} on {self._device}: the kernels take "
                f"{MAX_HIDDEN_SIZE} and {MAX_HEAD_SIZE} at most"
            )
        capability = torch.cuda.get_device_capability(self._device)
        if dtype == torch.bfloat16 and capability < (8, 0):
            name = torch.cuda.get_device_name(self._device)
            return f"{dtype} on {name}: it takes compute capability 8.0, this is {capability}; use float16"
        return extension.why_not_on(capability)

    def is_capturing(self) -> bool:
        with torch.cuda.device(self._device):
            return torch.cuda.is_current_stream_capturing()

    def failure(self) -> Exception | None:
        # The error of a failed context is what all of its calls return. Not the whole device: while any stream of it
        # captures, that may not be waited for.
        try:
            if not self.is_capturing():
                torch.cuda.current_stream(self._device).synchronize()
        except RuntimeError as error:
            return None if getattr(error, "error_code", None) in _OF_CAPTURES else error
        return None

    def copy_to_host(self, values: Tensor) -> Callable[[], list[Any]]:
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))

        def wait() -> list[Any]:
            event.synchronize()
            return host.tolist()

        return wait

    def use_on_current_stream(self, *tensors: Tensor) -> None:
        stream = torch.cuda.current_stream(self._device)
        for tensor in tensors:
            tensor.record_stream(stream)

    def math_mode(self) -> tuple[object, ...]:
        matmul = torch.backends.cuda.matmul
        return (
            torch.backends.fp32_precision,  # type: ignore[attr-defined]
            matmul.fp32_precision,
            matmul.allow_fp16_accumulation,
            matmul.allow_fp16_reduced_precision_reduction,
            matmul.allow_bf16_reduced_precision_reduction,
            # Later versions of torch have more to choose.
            getattr(matmul, "allow_fp16_reduced_precision_reduction_split_k", None),
            getattr(matmul, "allow_bf16_reduced_precision_reduction_split_k", None),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cuda.preferred_blas_library(),
        )

    def float32_precision(self) -> str:
        chosen: str = torch.backends.cuda.matmul.fp32_precision
        if chosen == "none":
            chosen = torch.backends.fp32_precision  # type: ignore[attr-defined]
        return chosen if chosen == "tf32" else "float32"

    def make_graph_pool(self) -> CudaGraphPool:
        return CudaGraphPool(self._device)


@dataclass(frozen=True)
class _CudaGraph:
    graph: torch.cuda.CUDAGraph
    result: Tensor

    def replay(self) -> Tensor:
        self.graph.replay()
        return self.result


class CudaGraphPool:
    """See `GraphPool`. The graphs use one memory, and so may not run side by side."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        # Memory of the pool goes from one graph to the next only on one stream. What libraries allocate on it, once,
        # while the first graph is captured, is the pool's, too: so the runs before it are on another stream.
        self._stream, self._warm_up_stream = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._lock = threading.RLock()
        self._done = torch.cuda.Event()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(self._done)
            try:
                yield
            finally:
                self._done.record(stream)

    def capture(self, run: Callable[[], Tensor]) -> _CudaGraph:
        current = torch.cuda.current_stream(self._device)
        with _capturing, torch.cuda.device(self._device):
            self._warm_up_stream.wait_stream(current)
            with torch.cuda.stream(self._warm_up_stream):
                # Libraries load their kernels in a first run, which no graph can hold.
                run()
            self._stream.wait_stream(self._warm_up_stream)
            graph = torch.cuda.CUDAGraph()
            # Waits for the device. Other threads may launch and allocate meanwhile.
            try:
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                    result = run()
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                raise CaptureError(str(error)) from error
            current.wait_stream(self._stream)
            return _CudaGraph(graph, result)

    def reset(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def num_bytes(self) -> int:
        segments = torch.cuda.memory_snapshot(include_traces=False)
        return sum(s["total_size"] for s in segments if tuple(s["segment_pool_id"]) == tuple(self._pool))
