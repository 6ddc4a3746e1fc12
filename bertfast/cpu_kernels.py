"""The kernels of ``bertfast._cpu`` over tensors. Each checks what a kernel relies on, in about a microsecond.

For callers that have asked `bertfast.cpu_extension.available`, outside of tracing and autograd: nothing is recorded.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from bertfast import cpu_extension

# That float32 holds, denormals included.
_SMALLEST_FLOAT, _LARGEST_FLOAT = 2.0**-149, torch.finfo(torch.float32).max

#: Who computes, for people.
NAME = "bertfast"


def residual_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float, out: Tensor | None = None
) -> Tensor:
    """LayerNorm of ``x + residual`` over the last axis, summed in float32.

    x: [T, H], float32 or bfloat16; residual: [T, H], weight, bias: [H], float32 -> [T, H], float32; all contiguous, in
    the CPU's memory. out: written to if given; may be residual itself, or x. Raises ValueError for what does not fit,
    ExtensionError without the kernels.
    """
    if x.dim() != 2:
        raise ValueError(f"x: expected [T, H], got {list(x.shape)}")
    rows = num_tokens, hidden_size = x.shape
    is_bfloat16 = x.dtype is torch.bfloat16
    # Not a slice of the shape, which costs more than all the checks of a tensor.
    size = (hidden_size,)
    read = (
        address("x", x, rows, torch.bfloat16 if is_bfloat16 else torch.float32),
        is_bfloat16,
        address("residual", residual, rows),
        address("weight", weight, size),
        address("bias", bias, size),
    )
    if out is None:
        out = torch.empty_like(residual)
    cpu_extension.module().residual_layer_norm(
        *read,
        address("out", out, rows),
        num_tokens,
        hidden_size,
        eps,
    )
    return out


def bias_gelu(x: Tensor, bias: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
    """As `bertfast.ops.bias_gelu`. x: [T, I], bias: [I], float32, contiguous, in the CPU's memory -> [T, I].

    out: written to if given; may be x itself. Raises ValueError for what does not fit, ExtensionError without the
    kernels.
    """
    if x.dim() != 2:
        raise ValueError(f"x: expected [T, I], got {list(x.shape)}")
    shape = num_tokens, inner_size = x.shape
    read = address("x", x, shape), address("bias", bias, (inner_size,))
    if out is None:
        out = torch.empty_like(x)
    cpu_extension.module().bias_gelu(*read, address("out", out, shape), num_tokens, inner_size, activation)
    return out


def serves_rows(*tensors: Tensor) -> bool:
    """Whether `bias_gelu` and `residual_layer_norm` compute with these, and nothing would be recorded or traced.

    Loads the kernels on the first call.
    """
    return (
        cpu_extension.available()
        and not torch.compiler.is_compiling()
        and all([type(t) is Tensor and t.dtype is torch.float32 and t.is_cpu and t.is_contiguous() for t in tensors])
        and not any(map(Tensor.is_neg, tensors))
        and not (torch.is_grad_enabled() and any([t.requires_grad for t in tensors]))
    )


def serves_attention(qkv: Tensor) -> bool:
    """Whether `varlen_attention` computes it, and nothing would be recorded. Loads the kernels on the first call."""
    return (
        type(qkv) is Tensor
        and qkv.is_cpu
        and has_attention(qkv.dtype)
        and qkv.is_contiguous()
        and not qkv.is_neg()
        and not (qkv.requires_grad and torch.is_grad_enabled())
    )


@cache
def has_attention(dtype: torch.dtype) -> bool:
    """Whether there is a kernel of attention for this dtype that runs on this CPU. Loads them on the first call."""
    if dtype not in (torch.float32, torch.bfloat16) or not cpu_extension.available():
        return False
    return dtype == torch.float32 or cpu_extension.features()["amx_bf16"]


def has_rows(dtype: torch.dtype) -> bool:
    """Whether `serves_rows` may be true of tensors in this dtype."""
    return dtype == torch.float32 and cpu_extension.available()


def varlen_attention(qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, scale: float) -> Tensor:
    """As `bertfast.ops.varlen_attention`; rows after the last sequence become 0.

    qkv: [T, 3, N, D], float32, or bfloat16 on a CPU with AMX -> [T, N, D]; all contiguous, in the CPU's memory. A
    query's result depends on its own sequence alone, to the bit, on any number of threads. Raises ValueError for what
    does not fit, ExtensionError without the kernels.
    """
    num_tokens, _, num_heads, head_size = qkv.shape
    is_bfloat16 = qkv.dtype is torch.bfloat16
    num_sequences = cu_seqlens.numel() - 1
    read = (
        address("qkv", qkv, (num_tokens, 3, num_heads, head_size), torch.bfloat16 if is_bfloat16 else torch.float32),
        is_bfloat16,
        address("cu_seqlens", cu_seqlens, (max(num_sequences, 0) + 1,), torch.int32),
        0 if key_lengths is None else address("key_lengths", key_lengths, (num_sequences,), torch.int32),
    )
    if not _SMALLEST_FLOAT <= scale <= _LARGEST_FLOAT:
        raise ValueError(f"scale: expected a finite number above 0, got {scale:g}")
    out = qkv.new_empty((num_tokens, num_heads, head_size))
    cpu_extension.module().varlen_attention(
        *read, out.data_ptr(), num_tokens, num_sequences, num_heads, head_size, scale
    )
    return out


def is_memory(tensor: Tensor) -> bool:
    """Whether its values are those in memory: torch has views that are negated when read, and zeros without memory."""
    return not (tensor.is_neg() or tensor._is_zerotensor())


def address(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> int:
    """Where a kernel finds ``tensor``. Raises ValueError where it may not read it so."""
    if tensor.shape != shape:
        raise ValueError(f"{name}: expected {list(shape)}, got {list(tensor.shape)}")
    # Asked of a dozen tensors a layer, some 50 ns each: of layouts that have no address, torch raises.
    try:
        if tensor.dtype is dtype and tensor.is_cpu and tensor.is_contiguous() and not tensor.is_neg():
            found = tensor.data_ptr()
            # Zeros without memory have none.
            if found or 0 in shape:
                return found
    except RuntimeError:
        pass
    raise ValueError(
        f"{name}: expected {dtype}, contiguous, on cpu, got {tensor.dtype}, {layout(tensor)}, on {tensor.device.type}"
    )


def layout(tensor: Tensor) -> str:
    """In words."""
    if tensor.layout is not torch.strided:
        return str(tensor.layout)
    if not is_memory(tensor):
        return "negated when it is read" if tensor.is_neg() else "zeros without memory"
    return "contiguous" if tensor.is_contiguous() else "with strides"
