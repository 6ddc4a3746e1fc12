"""What an encoder layer does with dense layers. Whatever else it does with them is one more entry of `LAYERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.timers import Call
from bertfast.linear import Norm, fuse_tail

_ACTIVATION = "erf"


@dataclass(frozen=True)
class Rows:
    """x: what the first product reads; residual: what is added to it. [T, H] each. norms: as many as there are sums."""

    x: Tensor
    residual: Tensor
    norms: tuple[Norm, Norm]

    def to(self, dtype: torch.dtype) -> Rows:
        first, second = (Norm(norm.weight.to(dtype), norm.bias.to(dtype), norm.eps) for norm in self.norms)
        return Rows(self.x.to(dtype), self.residual.to(dtype), (first, second))


#: dense: as many as a `Layer` has weights, by the interface of `bertfast.linear.Linear`.
MakeCall = Callable[[Sequence[Any], Rows], Call]


@dataclass(frozen=True)
class Layer:
    """weights(H, I): [M, K] of the parts of each dense layer. reads, writes: activations of H numbers a row.

    Only what goes in and what comes out is counted: what lies between can stay in a cache. call: dense layer by dense
    layer. fused: as one kernel, by bertfast's own dense layers. reads_context: x is what attention gives.
    """

    name: str
    weights: Callable[[int, int], list[list[tuple[int, int]]]]
    reads: int
    writes: int
    call: MakeCall
    fused: MakeCall | None = None
    reads_context: bool = False


def _qkv(dense: Sequence[Any], rows: Rows) -> Call:
    return lambda: dense[0](rows.x)


def _attention_output(dense: Sequence[Any], rows: Rows) -> Call:
    return lambda: dense[0].add_norm(rows.x, rows.residual, rows.norms[0])


def _feed_forward(dense: Sequence[Any], rows: Rows) -> Call:
    wide, narrow = dense
    return lambda: _fed_forward(wide, narrow, rows.x, rows.norms[0])


def _layer_tail(dense: Sequence[Any], rows: Rows) -> Call:
    attention_output, wide, narrow = dense

    def call() -> Tensor:
        x = attention_output.add_norm(rows.x, rows.residual, rows.norms[0])
        return _fed_forward(wide, narrow, x, rows.norms[1])

    return call


def _fused_tail(dense: Sequence[Any], rows: Rows) -> Call:
    attention_output, wide, narrow = dense
    tail = fuse_tail(attention_output, rows.norms[0], wide, _ACTIVATION, narrow, rows.norms[1])
    if tail is None:
        raise ValueError(f"layer_tail: {type(wide).__name__} is not fused; only bertfast's own dense layers are")
    return lambda: tail(rows.x, rows.residual)


def _fed_forward(wide: Any, narrow: Any, x: Tensor, norm: Norm) -> Tensor:
    result: Tensor = narrow.add_norm(wide.activated(x, _ACTIVATION), x, norm)
    return result


LAYERS = (
    Layer("qkv", lambda h, i: [[(h, h)] * 3], reads=1, writes=3, call=_qkv),
    Layer(
        "attention_output",
        lambda h, i: [[(h, h)]],
        reads=2,
        writes=1,
        call=_attention_output,
        reads_context=True,
    ),
    Layer("feed_forward", lambda h, i: [[(i, h)], [(h, i)]], reads=1, writes=1, call=_feed_forward),
    # All of a layer after attention.
    Layer(
        "layer_tail",
        lambda h, i: [[(h, h)], [(i, h)], [(h, i)]],
        reads=2,
        writes=1,
        call=_layer_tail,
        fused=_fused_tail,
        reads_context=True,
    ),
)
