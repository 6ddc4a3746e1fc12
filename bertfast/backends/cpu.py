"""The CPU: values can be read at any time, and launches are calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bertfast import cpu_dense, cpu_kernels
from bertfast.forking import keep_threads_forkable
from bertfast.linear import Linear, advice, missing, padded_rows, select_cpu_linear, select_invariant_cpu_linear
from bertfast.ops import first_token_attention, varlen_attention
from bertfast.ops.first_token_attention import attend_first_apart
from bertfast.ops.varlen_attention import attend_apart, attend_runs
from bertfast.packing import Sequences
from bertfast.precision import Choice, check_float32, is_own

# 1024 rows of [rows, I] float32 are 12 MB in BERT-base: what a core's share of the last cache holds. With int8 the
# passes between the products count for more, and 256 rows stay near the core's own cache.
_BLOCK_ROWS = {None: 1024, "bfloat16": 512, "int8": 256}


@cache
def _teach_malloc() -> None:
    """Let freed memory stay with the process, where malloc learns from what is freed, as glibc's does (mallopt(3)).

    It would give the layers' activations back to the system after each use, and their pages would be faulted in again.
    One block just below the largest that it learns from (32 MiB, of which it then keeps twice as much) ends that.
    """
    torch.empty(32 * 2**20 - 8192, dtype=torch.uint8)


class CpuBackend:
    """See `Backend`."""

    packs_on_device = False
    ops = "PyTorch"

    def __init__(self) -> None:
        # Where so much is not to be had, the next backend tries again.
        with suppress(RuntimeError, MemoryError):
            _teach_malloc()
        keep_threads_forkable()

    def resolve(self, asked: str | None, dtype: torch.dtype) -> Choice:
        if asked is None or is_own(asked, dtype) or (asked == "auto" and dtype != torch.float32):
            return Choice()
        check_float32(asked, dtype)
        wanted = "bfloat16" if asked == "auto" else asked
        lacks = missing(wanted)
        if lacks is None:
            return Choice(wanted, advice=advice(wanted))
        return Choice() if asked == "auto" else Choice(lacks=lacks)

    def linear(self, dtype: torch.dtype, precision: str | None = None, invariant: bool = False) -> type[Linear]:
        """Raises SettingError for a bad ``BERTFAST_CPU_LINEAR``, InvarianceError."""
        if invariant:
            return select_invariant_cpu_linear(dtype, precision)
        return select_cpu_linear(dtype, precision)

    def attention(self, qkv: Tensor, sequences: Sequences, scale: float) -> Tensor:
        if torch.compiler.is_compiling():
            # Its runs would be constants of the graph.
            return varlen_attention(qkv, sequences.cu_seqlens, sequences.key_lengths, sequences.max_seqlen, scale)
        if cpu_kernels.serves_attention(qkv):
            return cpu_kernels.varlen_attention(qkv, sequences.cu_seqlens, sequences.key_lengths, scale)
        return (attend_apart if sequences.apart else attend_runs)(qkv, sequences.runs, scale)

    def first_token_attention(self, query: Tensor, key_value: Tensor, sequences: Sequences, scale: float) -> Tensor:
        if sequences.apart:
            return attend_first_apart(query, key_value, sequences.runs, scale)
        return first_token_attention(query, key_value, sequences.cu_seqlens, sequences.key_lengths, scale)

    def attention_by(self, dtype: torch.dtype) -> str:
        return cpu_kernels.NAME if cpu_kernels.has_attention(dtype) else self.ops

    def block_rows(self, precision: str | None) -> int | None:
        return _BLOCK_ROWS[precision]

    def padded_rows(self, num_rows: int, dtype: torch.dtype, precision: str | None) -> int:
        reduced = dtype in (torch.bfloat16, torch.float16)
        compiles = reduced if precision is None else not cpu_dense.serves(precision)
        return padded_rows(num_rows) if compiles else num_rows

    def memory_bound_rows(self, dtype: torch.dtype) -> int:
        return 0

    def unserved(self, dtype: torch.dtype, hidden_size: int, head_size: int) -> str | None:
        return None

    def is_capturing(self) -> bool:
        return False

    def failure(self) -> None:
        return None

    def copy_to_host(self, values: Tensor) -> Callable[[], list[Any]]:
        copied = values.tolist()
        return lambda: copied

    def use_on_current_stream(self, *tensors: Tensor) -> None:
        pass

    def math_mode(self) -> tuple[object, ...]:
        return ()

    def float32_precision(self) -> str:
        chosen: str = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
        return chosen if chosen in ("tf32", "bf16") else "float32"

    def make_graph_pool(self) -> None:
        return None
