"""Each op at a shape: bertfast's call, PyTorch's on the same values, and how much work it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.paths import KERNELS
from benchmarks.gpu.timers import Call
from bertfast import ops

sys.path.append(str(KERNELS))

from cases import cases_at
from work import Shape, Work

_NUM_WORDS, _NUM_POSITIONS = 30522, 512


@dataclass(frozen=True)
class Calls:
    """ours, theirs: the same computation; theirs is None where PyTorch has nothing like it. tensors: what is read."""

    ours: Call
    theirs: Call | None
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True)
class KernelCase:
    """make(device): new inputs, and the calls on them. lengths: of the sequences, all as long as S if it is full."""

    op: str
    model: str
    shape: Shape
    lengths: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[torch.device], Calls]

    @property
    def is_ragged(self) -> bool:
        return len(set(self.lengths)) > 1

    @property
    def work(self) -> Work:
        """Every tensor counted once."""
        s = self.shape
        parts = [Shape(1, n, s.element_bytes, s.hidden, s.heads, s.inner) for n in self.lengths]
        return _sum([_work_of(self.op, part) for part in parts]) if self.is_ragged else _work_of(self.op, s)


def _work_of(op: str, shape: Shape) -> Work:
    (work,) = (case.work for case in cases_at(shape) if case.op == op)
    return work


def _sum(parts: list[Work]) -> Work:
    names = ("read_bytes", "written_bytes", "flops", "tensor_flops", "special_ops")
    return Work(*(sum(getattr(part, name) for part in parts) for name in names))


def make_cases(model: str, shape: Shape, lengths: tuple[int, ...], dtype: torch.dtype) -> list[KernelCase]:
    """Of all ops; ragged batches only of those whose work depends on the lengths."""
    makers = _MAKERS if len(set(lengths)) == 1 else {name: _MAKERS[name] for name in _RAGGED}
    return [
        KernelCase(op, model, shape, lengths, dtype, lambda device, m=make: m(_Inputs(shape, lengths, dtype, device)))
        for op, make in makers.items()
    ]


@dataclass(frozen=True)
class _Inputs:
    shape: Shape
    lengths: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    def randn(self, *size: int) -> Tensor:
        return torch.randn(size, device=self.device).to(self.dtype)

    def offsets(self) -> Tensor:
        ends = torch.tensor((0, *self.lengths)).cumsum(0)
        return ends.to(self.device, torch.int32)

    def mask(self) -> Tensor:
        columns = torch.arange(self.shape.length)
        return (columns < torch.tensor(self.lengths).unsqueeze(1)).to(self.device)

    def padded_mask(self) -> Tensor | None:
        """For PyTorch's attention; None where there is no padding."""
        return self.mask()[:, None, None] if len(set(self.lengths)) > 1 else None

    def heads(self, *size: int) -> Tensor:
        return self.randn(*size, self.shape.heads, self.shape.hidden // self.shape.heads)

    @property
    def scale(self) -> float:
        return float((self.shape.hidden // self.shape.heads) ** -0.5)


def _bias_gelu(i: _Inputs) -> Calls:
    x, bias = i.randn(i.tokens, i.shape.inner), i.randn(i.shape.inner)
    return Calls(lambda: ops.bias_gelu(x, bias), lambda: F.gelu(x + bias), (x,))


def _residual_layer_norm(i: _Inputs) -> Calls:
    h = i.shape.hidden
    x, residual = i.randn(i.tokens, h), i.randn(i.tokens, h)
    weight, bias, x_bias = (i.randn(h) for _ in range(3))
    return Calls(
        lambda: ops.residual_layer_norm(x, residual, weight, bias, 1e-12, x_bias),
        lambda: F.layer_norm(x + x_bias + residual, (h,), weight, bias, 1e-12),
        (x, residual),
    )


def _embedding_layer_norm(i: _Inputs) -> Calls:
    h, b, s = i.shape.hidden, i.shape.batch, i.shape.length
    words, types, positions = i.randn(_NUM_WORDS, h), i.randn(2, h), i.randn(_NUM_POSITIONS, h)
    weight, bias = i.randn(h), i.randn(h)
    ids = torch.randint(0, _NUM_WORDS, (b * s,), device=i.device)
    type_ids = torch.zeros_like(ids)
    columns = torch.arange(s, device=i.device).repeat(b)
    return Calls(
        lambda: ops.embedding_layer_norm(
            ids, type_ids, None, words, types, positions, weight, bias, 1e-12, padded_len=s
        )[0],
        lambda: F.layer_norm(
            F.embedding(ids, words) + F.embedding(type_ids, types) + F.embedding(columns, positions),
            (h,),
            weight,
            bias,
            1e-12,
        ),
        (ids, words),
    )


def _varlen_attention(i: _Inputs) -> Calls:
    qkv, offsets, mask, scale = i.heads(i.tokens, 3), i.offsets(), i.padded_mask(), i.scale
    padded = _pad(qkv, i)
    q, k, v = (part.transpose(1, 2) for part in padded.unbind(2))
    longest = max(i.lengths)
    return Calls(
        lambda: ops.varlen_attention(qkv, offsets, None, longest, scale),
        lambda: F.scaled_dot_product_attention(q, k, v, mask, scale=scale),
        (qkv, padded),
    )


def _first_token_attention(i: _Inputs) -> Calls:
    query, key_value = i.heads(i.shape.batch), i.heads(i.tokens, 2)
    offsets, mask, scale = i.offsets(), i.padded_mask(), i.scale
    padded = _pad(key_value, i)
    k, v = (part.transpose(1, 2) for part in padded.unbind(2))
    return Calls(
        lambda: ops.first_token_attention(query, key_value, offsets, None, scale),
        lambda: F.scaled_dot_product_attention(query.unsqueeze(2), k, v, mask, scale=scale),
        (key_value, padded),
    )


def _pad(packed: Tensor, i: _Inputs) -> Tensor:
    padded = packed.new_zeros((i.shape.batch, i.shape.length, *packed.shape[1:]))
    padded[i.mask()] = packed
    return padded


def _unpad_input(i: _Inputs) -> Calls:
    mask = i.mask().long()
    ids = torch.randint(1, _NUM_WORDS, mask.shape, device=i.device) * mask
    types = torch.zeros_like(ids)
    positions = torch.arange(i.shape.length, device=i.device).expand(ids.shape).contiguous()
    return Calls(
        lambda: ops.unpad_input(mask, ids, types, positions, _NUM_WORDS, 2, _NUM_POSITIONS, 0, None),
        None,
        (mask, ids, types, positions),
    )


def _pad_input(i: _Inputs) -> Calls:
    x, indices = i.randn(i.tokens, i.shape.hidden), torch.arange(i.tokens, device=i.device)
    return Calls(
        lambda: ops.pad_input(x, indices), lambda: x.new_zeros(x.shape).index_copy_(0, indices, x), (x, indices)
    )


def _gather_first(i: _Inputs) -> Calls:
    x, rows = i.randn(i.tokens, i.shape.hidden), i.offsets()[:-1].long()
    return Calls(lambda: ops.gather_first(x, rows), lambda: x.index_select(0, rows), (x,))


_MAKERS: dict[str, Callable[[_Inputs], Calls]] = {
    "varlen_attention": _varlen_attention,
    "residual_layer_norm": _residual_layer_norm,
    "bias_gelu": _bias_gelu,
    "embedding_layer_norm": _embedding_layer_norm,
    "first_token_attention": _first_token_attention,
    "unpad_input": _unpad_input,
    "pad_input": _pad_input,
    "gather_first": _gather_first,
}
_RAGGED = ("varlen_attention", "first_token_attention")
