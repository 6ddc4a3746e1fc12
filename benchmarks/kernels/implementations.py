"""Who computes an op. Whatever takes the op's own arguments is one more entry of `IMPLEMENTATIONS`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.gpu.kernels.cases import Calls
from benchmarks.gpu.timers import Call
from bertfast import cpu_kernels, ops
from bertfast.ops._library import REFERENCES
from bertfast.ops.packed_layout import equal_length_runs
from bertfast.ops.varlen_attention import attend_runs

_ALL = tuple(ops.__all__)
_CPU = ("cpu",)
PYTORCH = "pytorch"


@dataclass(frozen=True)
class Implementation:
    """bind(op, calls): the call that computes what ``calls.ours`` computes. ops, devices: those that it serves.

    takes(dtype): whether this installation has it for tensors in this dtype.
    """

    name: str
    bind: Callable[[str, Calls], Call]
    ops: tuple[str, ...] = _ALL
    devices: tuple[str, ...] = ("cpu", "cuda")
    takes: Callable[[torch.dtype], bool] = lambda dtype: True

    def serves(self, op: str, device: str, dtype: torch.dtype) -> bool:
        return op in self.ops and device in self.devices and self.takes(dtype)


def implementations(op: str, device: str, dtype: torch.dtype) -> tuple[Implementation, ...]:
    """Those of an op, in the order of the table."""
    return tuple(one for one in IMPLEMENTATIONS if one.serves(op, device, dtype))


def _pytorch(op: str, calls: Calls) -> Call:
    if calls.theirs is None:
        raise ValueError(f"{op}: PyTorch has nothing like it, and the table of implementations says that it has")
    return calls.theirs


def _runs(op: str, calls: Calls) -> Call:
    """As a CPU's layers call attention: the runs of equal lengths are found once in a forward."""
    qkv, cu_seqlens, key_lengths, max_seqlen, scale = calls.arguments
    runs = tuple(equal_length_runs(len(qkv), cu_seqlens, key_lengths, max_seqlen))
    return functools.partial(attend_runs, qkv, runs, scale)


def _native_norm(op: str, calls: Calls) -> Call:
    return functools.partial(cpu_kernels.residual_layer_norm, *calls.arguments)


def _native_gelu(op: str, calls: Calls) -> Call:
    x, bias = calls.arguments
    return functools.partial(cpu_kernels.bias_gelu, x, bias, "erf")


def _native_attention(op: str, calls: Calls) -> Call:
    qkv, cu_seqlens, key_lengths, _, scale = calls.arguments
    return functools.partial(cpu_kernels.varlen_attention, qkv, cu_seqlens, key_lengths, scale)


IMPLEMENTATIONS = (
    # As users get it: by the dispatcher, and by whoever is registered for the device.
    Implementation("bertfast", lambda op, calls: calls.ours),
    # The plain one, whoever is registered.
    Implementation("reference", lambda op, calls: functools.partial(REFERENCES[op], *calls.arguments)),
    Implementation("runs", _runs, ("varlen_attention",), _CPU),
    Implementation("native", _native_norm, ("residual_layer_norm",), _CPU, cpu_kernels.has_rows),
    Implementation("native", _native_gelu, ("bias_gelu",), _CPU, cpu_kernels.has_rows),
    Implementation("native", _native_attention, ("varlen_attention",), _CPU, cpu_kernels.has_attention),
    Implementation(PYTORCH, _pytorch, tuple(op for op in _ALL if op != "unpad_input")),
)
