"""Each op at a shape: bertfast's call, PyTorch's on the same values, and how much work it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.kernels.values import normal
from benchmarks.gpu.timers import Call
from bertfast import ops
from bertfast.roofline.cases import cases_at
from bertfast.roofline.work import Shape, Work

_NUM_WORDS, _NUM_POSITIONS = 30522, 512


@dataclass(frozen=True)
class Calls:
    """ours, theirs: the same computation; theirs is None where PyTorch has nothing like it. arguments: of the op, for
    whoever else computes it.

    reads, their_reads: bytes that a call reads of the inputs made for it alone. holds: bytes of all these inputs.
    """

    ours: Call
    theirs: Call | None
    reads: int
    their_reads: int
    holds: int
    arguments: tuple[Any, ...] = ()


def _calls(
    op: Callable[..., Any],
    arguments: tuple[Any, ...],
    theirs: Call | None,
    reads: Sequence[Tensor],
    their_reads: Sequence[Tensor] = (),
) -> Calls:
    """Of calls that read these tensors whole."""
    held = {id(tensor): tensor.nbytes for tensor in (*reads, *their_reads)}
    ours = functools.partial(op, *arguments)
    return Calls(ours, theirs, _num_bytes(reads), _num_bytes(their_reads), sum(held.values()), arguments)


def _num_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


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
        if self.op in _PADDED:
            # Both have all positions before them or behind them, and the rows of the real ones.
            work, padded_rows = _work_of(self.op, s), s.tokens - sum(self.lengths)
            unread = padded_rows * s.hidden * s.element_bytes if self.op == "pad_input" else 0
            return replace(work, read_bytes=work.read_bytes - unread)
        parts = [Shape(1, n, s.element_bytes, s.hidden, s.heads, s.inner) for n in self.lengths]
        return _sum([_work_of(self.op, part) for part in parts]) if self.is_ragged else _work_of(self.op, s)


def _work_of(op: str, shape: Shape) -> Work:
    (work,) = (case.work for case in cases_at(shape) if case.op == op)
    return work


def _sum(parts: list[Work]) -> Work:
    names = ("read_bytes", "written_bytes", "flops", "tensor_flops", "special_ops")
    return Work(*(sum(getattr(part, name) for part in parts) for name in names))


def make_cases(
    model: str, shape: Shape, lengths: tuple[int, ...], dtype: torch.dtype, adds_bias: bool = True
) -> list[KernelCase]:
    """Of all ops; ragged batches only of those whose work depends on the lengths. adds_bias: whether LayerNorm adds
    the bias of the product before it, as on a GPU; a CPU's products have added it themselves.
    """
    makers = _MAKERS if len(set(lengths)) == 1 else {name: _MAKERS[name] for name in _RAGGED}

    def maker(make: Callable[[_Inputs], Calls]) -> Callable[[torch.device], Calls]:
        return lambda device: make(_Inputs(shape, lengths, dtype, device, adds_bias))

    return [KernelCase(op, model, shape, lengths, dtype, maker(make)) for op, make in makers.items()]


@dataclass(frozen=True)
class _Inputs:
    shape: Shape
    lengths: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    adds_bias: bool

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    def randn(self, *size: int) -> Tensor:
        return normal(size, self.dtype, self.device)

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
    return _calls(ops.bias_gelu, (x, bias), lambda: F.gelu(x + bias), (x,), (x,))


def _residual_layer_norm(i: _Inputs) -> Calls:
    h = i.shape.hidden
    x, residual = i.randn(i.tokens, h), i.randn(i.tokens, h)
    weight, bias, x_bias = (i.randn(h) for _ in range(3))

    def theirs() -> Tensor:
        total = x + x_bias + residual if i.adds_bias else x + residual
        return F.layer_norm(total, (h,), weight, bias, 1e-12)

    return _calls(
        ops.residual_layer_norm,
        (x, residual, weight, bias, 1e-12, *((x_bias,) if i.adds_bias else ())),
        theirs,
        (x, residual),
        (x, residual),
    )


def _embedding_layer_norm(i: _Inputs) -> Calls:
    h, b, s = i.shape.hidden, i.shape.batch, i.shape.length
    words, types, positions = i.randn(_NUM_WORDS, h), i.randn(2, h), i.randn(_NUM_POSITIONS, h)
    weight, bias = i.randn(h), i.randn(h)
    ids = torch.randint(0, _NUM_WORDS, (b * s,), device=i.device)
    type_ids = torch.zeros_like(ids)
    columns = torch.arange(s, device=i.device).repeat(b)
    # As after unpad_input: what it is said to read (bertfast/roofline/cases.py) has these, too.
    indices = torch.arange(b * s, device=i.device)
    read_ids = _num_bytes((ids, type_ids, columns))
    # Of the tables only these rows: one type, S positions.
    rows = (int(ids.unique().numel()) + 1 + s) * h * words.element_size()
    arguments = (ids, type_ids, columns, words, types, positions, weight, bias, 1e-12, indices)
    return Calls(
        lambda: ops.embedding_layer_norm(*arguments)[0],
        lambda: F.layer_norm(
            F.embedding(ids, words) + F.embedding(type_ids, types) + F.embedding(columns, positions),
            (h,),
            weight,
            bias,
            1e-12,
        ),
        read_ids + indices.nbytes + rows,
        read_ids + rows,
        read_ids + indices.nbytes + _num_bytes((words, types, positions)),
        arguments,
    )


def _varlen_attention(i: _Inputs) -> Calls:
    qkv, offsets, mask, scale = i.heads(i.tokens, 3), i.offsets(), i.padded_mask(), i.scale
    padded = _pad(qkv, i)
    q, k, v = (part.transpose(1, 2) for part in padded.unbind(2))
    longest = max(i.lengths)
    return _calls(
        ops.varlen_attention,
        (qkv, offsets, None, longest, scale),
        lambda: F.scaled_dot_product_attention(q, k, v, mask, scale=scale),
        (qkv,),
        (padded,),
    )


def _first_token_attention(i: _Inputs) -> Calls:
    query, key_value = i.heads(i.shape.batch), i.heads(i.tokens, 2)
    offsets, mask, scale = i.offsets(), i.padded_mask(), i.scale
    padded = _pad(key_value, i)
    k, v = (part.transpose(1, 2) for part in padded.unbind(2))
    return _calls(
        ops.first_token_attention,
        (query, key_value, offsets, None, scale),
        lambda: F.scaled_dot_product_attention(query.unsqueeze(2), k, v, mask, scale=scale),
        (query, key_value),
        (query, padded),
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
    return _calls(
        ops.unpad_input,
        (mask, ids, types, positions, _NUM_WORDS, 2, _NUM_POSITIONS, 0, None),
        None,
        (mask, ids, types, positions),
    )


def _pad_input(i: _Inputs) -> Calls:
    """Theirs in one pass: each position takes its row, or the row of zeros that stands behind them all. Zeros that
    are then written over (flash-attn's way) would write the result twice.
    """
    positions = i.mask().flatten()
    indices = torch.cat([positions.nonzero().flatten(), (~positions).nonzero().flatten()])
    x = torch.cat([i.randn(i.tokens, i.shape.hidden), i.randn(1, i.shape.hidden) * 0])
    rows = torch.where(positions, positions.cumsum(0) - 1, i.tokens)
    packed = x[:-1]
    return _calls(ops.pad_input, (packed, indices), lambda: x.index_select(0, rows), (packed, indices), (x, rows))


def _gather_first(i: _Inputs) -> Calls:
    x, rows = i.randn(i.tokens, i.shape.hidden), i.offsets()[:-1].long()
    read = len(rows) * i.shape.hidden * x.element_size() + rows.nbytes
    ours, theirs = functools.partial(ops.gather_first, x, rows), lambda: x.index_select(0, rows)
    return Calls(ours, theirs, read, read, x.nbytes + rows.nbytes, (x, rows))


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
_PADDED = ("unpad_input", "pad_input")
_RAGGED = ("varlen_attention", "first_token_attention", *_PADDED)
