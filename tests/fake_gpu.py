"""A stand-in for a GPU: the engine takes a GPU's way, the CPU computes, and what is captured is run again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from bertfast import backends, guard, weights
from bertfast.backends import CudaBackend
from bertfast.linear import FixedRowsPortable, Linear, PortableLinear
from bertfast.ops import first_token_attention, varlen_attention
from bertfast.packing import Sequences
from bertfast.precision import Choice


@dataclass
class FakeGraph:
    """Replays by running again, into the memory of the first result."""

    run: Callable[[], Tensor]
    result: Tensor
    replays: int = 0

    def replay(self) -> Tensor:
        self.replays += 1
        return self.result.copy_(self.run())


@dataclass
class FakeGraphPool:
    """graph_bytes: of each graph. fails: what capturing one raises. captured: those that were made; held: of this
    pool."""

    graph_bytes: int = 1000
    fails: Exception | None = None
    captured: list[FakeGraph] = field(default_factory=list)
    held: int = 0
    inside: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def capture(self, run: Callable[[], Tensor]) -> FakeGraph:
        assert self.inside > 0, "captured while another thread may replay"
        run()  # as CUDA's pool does, to warm up
        if self.fails is not None:
            raise self.fails
        self.captured.append(FakeGraph(run, run()))
        self.held += 1
        return self.captured[-1]

    def num_bytes(self) -> int:
        return self.graph_bytes * self.held

    def reset(self) -> None:
        self.held = 0

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        # As CUDA's, it lets its own thread in again.
        with self._lock:
            self.inside += 1
            try:
                yield
            finally:
                self.inside -= 1


@dataclass
class FakeGpu:
    """A `Backend` whose device is the CPU. Reading a value costs nothing, so what must not wait is asserted.

    rows: its memory-bound rows. capturing: whether the caller captures a graph. pools: of each model, in order.
    """

    rows: int = 0
    capturing: bool = False
    pools: list[FakeGraphPool] = field(default_factory=list)
    packs_on_device: bool = True
    ops: str = "emulated"
    #: What the next computations of attention raise, in order.
    errors: list[Exception] = field(default_factory=list)
    #: What all raise, once it has failed for good.
    failed: Exception | None = None

    def resolve(self, asked: str | None, dtype: torch.dtype) -> Choice:
        return CudaBackend(torch.device("cuda")).resolve(asked, dtype)

    def linear(self, dtype: torch.dtype, precision: str | None = None, invariant: bool = False) -> type[Linear]:
        return FixedRowsPortable if invariant else PortableLinear

    def _use(self) -> None:
        if self.failed is not None:
            raise self.failed

    def attention(self, qkv: Tensor, sequences: Sequences, scale: float) -> Tensor:
        self._use()
        if self.errors:
            # A frame that is not bertfast's keeps what it holds.
            del qkv
            raise self.errors.pop(0)
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
        return self.rows

    def unserved(self, dtype: torch.dtype, hidden_size: int, head_size: int) -> str | None:
        return None

    def is_capturing(self) -> bool:
        return self.capturing

    def copy_to_host(self, values: Tensor) -> Callable[[], list[Any]]:
        copied = values.clone()

        def wait() -> list[Any]:
            self._use()
            assert not self.capturing, "waits inside of the caller's graph"
            return copied.tolist()

        return wait

    def failure(self) -> Exception | None:
        return self.failed

    def use_on_current_stream(self, *tensors: Tensor) -> None:
        pass

    def math_mode(self) -> tuple[object, ...]:
        return ()

    def float32_precision(self) -> str:
        return "tf32"

    def make_graph_pool(self) -> FakeGraphPool:
        self.pools.append(FakeGraphPool())
        return self.pools[-1]

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
        """Models that are prepared from now on, until the test ends, run on it."""
        for module in (backends, guard, weights):
            monkeypatch.setattr(module, "find_backend", lambda device: self)
        return self
