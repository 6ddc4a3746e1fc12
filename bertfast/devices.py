"""Where CPU and GPU part ways: what each device wants, chosen once, when the weights of a model are prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bertfast import extension
from bertfast.cuda import CudaRecorder
from bertfast.graphs import Recorder
from bertfast.linear import Linear, PortableLinear, select_cpu_linear

# Of the kernels: csrc/kernels/limits.h.
_MAX_HEAD_SIZE = 256
_MAX_HIDDEN_SIZE = 8192
_KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class DevicePolicy:
    """How the encoder is run on a device.

    linear: who multiplies the matrices. feed_forward_rows: rows of one step of the feed-forward network, None for
    all: the activations of a step stay in the cache. packs_on_device: masks and ids are in the device's memory, and
    reading a value from there means to wait for it. unwaited_slots: up to so many padded positions, all of them are
    computed rather than to wait for how many are needed. make_recorder: of recordings of launches, if there are such.
    """

    linear: type[Linear]
    feed_forward_rows: int | None = None
    packs_on_device: bool = False
    unwaited_slots: int = 0
    make_recorder: Callable[[torch.device], Recorder] | None = None


# 1024 rows of [rows, I] float32 are 12 MB in BERT-base: what a core's share of the last cache holds.
_CPU_ROWS = 1024
# Up to here a dense layer takes as long as reading its weight: an H100 does 990 TFLOP/s of 16-bit arithmetic while it
# reads 3.35 TB/s (its data sheet), 295 rows for each weight. On other GPUs the two are as far apart.
_MEMORY_BOUND_ROWS = 256


def device_policy(device: torch.device, dtype: torch.dtype) -> DevicePolicy:
    """How weights of this device and dtype are run. Raises ValueError for a bad ``BERTFAST_CPU_LINEAR``."""
    if device.type == "cpu":
        return DevicePolicy(select_cpu_linear(dtype), feed_forward_rows=_CPU_ROWS)
    return DevicePolicy(
        PortableLinear, packs_on_device=True, unwaited_slots=_MEMORY_BOUND_ROWS, make_recorder=CudaRecorder
    )


def unserved(device: torch.device, dtype: torch.dtype, hidden_size: int, head_size: int) -> str | None:
    """Why a model of this kind is not run on this device, or None if it is."""
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        return f"device {device}: there are kernels for cpu and cuda"
    if dtype not in _KERNEL_DTYPES:
        return f"{dtype} on {device}: the kernels compute in float32, float16 and bfloat16"
    if hidden_size > _MAX_HIDDEN_SIZE or head_size > _MAX_HEAD_SIZE:
        return (
            f"hidden size {hidden_size}, head size {head_size} on {device}: the kernels take {_MAX_HIDDEN_SIZE} and "
            f"{_MAX_HEAD_SIZE} at most"
        )
    capability = torch.cuda.get_device_capability(device)
    if dtype == torch.bfloat16 and capability < (8, 0):
        return f"{dtype} on {torch.cuda.get_device_name(device)}: it takes compute capability 8.0; use float16"
    return extension.why_not_on(capability)
