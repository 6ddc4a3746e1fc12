"""Who computes an op. Whatever takes the op's own arguments is one more entry of `IMPLEMENTATIONS`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.gpu.kernels.cases import Calls
from benchmarks.gpu.timers import Call
from bertfast import cpu_extension, cpu_kernels, ops
from bertfast.ops._library import REFERENCES
from bertfast.ops.packed_layout import equal_length_runs
from bertfast.ops.varlen_attention import attend_runs

_ALL = tuple(ops.__all__)
PYTORCH = "pytorch"


@dataclass(frozen=True)
class Implementation:
    """bind(op, calls): the call that computes what ``calls.ours`` computes. ops, devices, dtypes: those that it serves.

    is_there(): whether this installation has it.
    """

    name: str
    bind: Callable[[str, Calls], Call]
    ops: tuple[str, ...] = _ALL
    devices: tuple[str, ...] = ("cpu", "cuda")
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)
    is_there: Callable[[], bool] = lambda: True

    def serves(self, op: str, device: str, dtype: torch.dtype) -> bool:
        return op in self.ops and device in self.devices and dtype in self.dtypes and self.is_there()


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


def _native_attention(op: str, calls: Calls) -> Call:
    qkv, cu_seqlens, key_lengths, _, scale = calls.arguments
    return functools.partial(cpu_kernels.varlen_attention, qkv, cu_seqlens, key_lengths, scale)


def _has_amx() -> bool:
    return cpu_extension.available() and cpu_extension.features()["amx_bf16"]


IMPLEMENTATIONS = (
    # As users get it: by the dispatcher, and by whoever is registered for the device.
    Implementation("bertfast", lambda op, calls: calls.ours),
    # The plain one, whoever is registered.
    Implementation("reference", lambda op, calls: functools.partial(REFERENCES[op], *calls.arguments)),
    Implementation("runs", _runs, ops=("varlen_attention",), devices=("cpu",)),
    Implementation(
        "native",
        lambda op, calls: functools.partial(cpu_kernels.residual_layer_norm, *calls.arguments),
        ops=("residual_layer_norm",),
        devices=("cpu",),
        dtypes=(torch.float32,),
        is_there=cpu_extension.available,
    ),
    Implementation(
        "native",
        _native_attention,
        ops=("varlen_attention",),
        devices=("cpu",),
        dtypes=(torch.float32,),
        is_there=cpu_extension.available,
    ),
    Implementation(
        "native",
        _native_attention,
        ops=("varlen_attention",),
        devices=("cpu",),
        dtypes=(torch.bfloat16,),
        is_there=_has_amx,
    ),
    Implementation(PYTORCH, _pytorch, ops=tuple(op for op in _ALL if op != "unpad_input")),
)
