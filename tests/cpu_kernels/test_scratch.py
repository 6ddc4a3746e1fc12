"""The memory that a thread keeps for the kernels: as much as docs/reliability.md states, and gone with the thread."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from bertfast import cpu_dense, cpu_kernels
from bertfast.cpu_dense import PackedDense, PackedTail
from bertfast.norm import Norm


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _tail_bytes(precision: str, h: int, i: int) -> int:
    if precision == "bfloat16":
        return 128 * (2 * _up(h, 32) + 2 * _up(i, 32) + 8 + 4 * h)
    return 256 * (_up(h, 64) + _up(i, 64) + 8 + 4 * h + 2 * i)


def _attention_bytes(dtype: torch.dtype, d: int) -> int:
    return 3136 * _up(d, 32) + (19_456 if dtype == torch.float32 else 68_608)


def _held_meanwhile(native, compute) -> int:
    """By a new thread, once it has computed."""
    found, before = list[int](), native.scratch_bytes()

    def work() -> None:
        compute()
        found.append(native.scratch_bytes() - before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    # Python lets go of a thread before the system has ended it.
    end = time.monotonic() + 30
    while native.scratch_bytes() != before and time.monotonic() < end:
        time.sleep(0.001)
    assert native.scratch_bytes() == before
    return found[0]


@pytest.mark.parametrize(("h", "i"), [(64, 96), (100, 330)])
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_layer_tail(native, precision, h, i):
    if not cpu_dense.serves(precision):
        pytest.skip(f"this CPU has no instruction for {precision}")
    shapes = [(h, h), (i, h), (h, i)]
    parts = [PackedDense(torch.randn(m, k), torch.randn(m), precision) for m, k in shapes]
    tail, norm = PackedTail(parts[0], parts[1], "erf", parts[2]), Norm(torch.ones(h), torch.zeros(h), 1e-5)

    def compute() -> None:
        for rows in (1, 300, 2000):
            x = torch.randn(rows, h)
            tail(x, x, norm, norm)
            parts[1](x, torch.float32)

    assert _held_meanwhile(native, compute) == _tail_bytes(precision, h, i)


@pytest.mark.parametrize("head_size", [20, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_attention(native, dtype, head_size):
    if not cpu_kernels.has_attention(dtype):
        pytest.skip("this CPU has no AMX")

    def compute() -> None:
        for rows in (3, 1500):
            qkv = torch.randn(rows, 3, 2, head_size).to(dtype)
            cpu_kernels.varlen_attention(qkv, torch.tensor([0, rows], dtype=torch.int32), None, 0.1)

    assert _held_meanwhile(native, compute) == _attention_bytes(dtype, head_size)
