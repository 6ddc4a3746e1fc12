"""Any arguments to the functions over the CPU kernels, between pages that may not be touched: a result, or a refusal.

A read or write outside, and a read of what is no memory, ends this process by a signal. Its argument: the newest
instructions to use.
"""

from __future__ import annotations

import contextlib
import faulthandler
import sys
from collections.abc import Callable
from typing import Any

import odd_tensors
import torch
from fuzzing import fuzzer, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertfast import cpu_extension, cpu_kernels
from bertfast.cpu_dense import PackedDense, PackedTail, serves
from bertfast.norm import Norm
from cpu_kernels.fenced import Fence

Arguments = dict[str, Any]
_EXTREMES = st.sampled_from([-(2**31), -1, 0, 1, 2, 5, 7, 8, 2**31 - 1])
_DTYPES = [torch.int64, torch.int32, torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Of the reduced precisions, what this CPU multiplies in.
_SERVED = [precision for precision in ("bfloat16", "int8") if serves(precision)]
_FENCES: dict[str, Fence] = {}


def _layer_norm(draw: st.DrawFn, rows: int, size: int) -> Arguments:
    shapes = {"x": (rows, size), "residual": (rows, size), "weight": (size,), "bias": (size,)}
    more = {"out": (rows, size)} if draw(st.booleans()) else {}
    return {**{name: torch.randn(shape) for name, shape in {**shapes, **more}.items()}, "eps": 1e-5}


def _bias_gelu(draw: st.DrawFn, rows: int, size: int) -> Arguments:
    return {"x": torch.randn(rows, size), "bias": torch.randn(size), "activation": draw(st.sampled_from(["erf", "?"]))}


def _attention(draw: st.DrawFn, rows: int, size: int) -> Arguments:
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=3)))
    offsets = torch.tensor([0, *cuts, rows])
    keys = offsets.diff() if draw(st.booleans()) else None
    for values in (offsets, keys):
        if values is not None and len(values) > 0 and draw(st.integers(0, 2)) == 0:
            values[draw(st.integers(0, len(values) - 1))] = draw(_EXTREMES)
    return {
        "qkv": torch.randn(rows, 3, 2, size),
        "cu_seqlens": offsets.int(),
        "key_lengths": None if keys is None else keys.int(),
        "scale": draw(st.sampled_from([0.1, 1e30, 0.0, float("nan")])),
    }


def _dense(draw: st.DrawFn, rows: int, size: int) -> Arguments:
    columns, precision = draw(st.integers(1, 100)), draw(st.sampled_from(_SERVED))
    return {
        "weight": torch.randn(columns, size),
        "bias": torch.randn(columns),
        "x": torch.randn(rows, size),
        "precision": precision,
    }


def _run_dense(weight: Tensor, bias: Tensor, x: Tensor, precision: str) -> Tensor:
    return PackedDense(weight, bias, precision)(x, torch.float32)


def _tail(draw: st.DrawFn, rows: int, size: int) -> Arguments:
    arguments = {name: torch.randn(rows, size) for name in ("context", "x")}
    return {**arguments, **{name: torch.randn(size) for name in ("weight", "bias")}}


def _run_tail(context: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    # As wide as x is before it is changed; its own layers are not the question.
    size = min(context.shape[-1], 70) if context.dim() > 0 else 1
    layer = PackedDense(torch.eye(max(size, 1)), torch.zeros(max(size, 1)), _SERVED[-1])
    norm = Norm(weight, bias, 1e-5)
    return PackedTail(layer, layer, "relu", layer)(context, x, norm, norm)


_KERNELS: dict[str, tuple[Callable[..., Arguments], Callable[..., Tensor]]] = {
    "residual_layer_norm": (_layer_norm, cpu_kernels.residual_layer_norm),
    "bias_gelu": (_bias_gelu, cpu_kernels.bias_gelu),
    "varlen_attention": (_attention, cpu_kernels.varlen_attention),
    **({"dense": (_dense, _run_dense), "tail": (_tail, _run_tail)} if _SERVED else {}),
}
_SHAPES: list[Callable[[Tensor], Tensor]] = [
    lambda tensor: tensor[:0],
    lambda tensor: tensor[1:],
    lambda tensor: torch.cat((tensor, tensor[-1:])),
    lambda tensor: tensor[..., :0],
    lambda tensor: tensor[..., 1:],
    lambda tensor: torch.cat((tensor, tensor[..., -1:]), -1),
    lambda tensor: tensor.unsqueeze(0),
    lambda tensor: tensor[0],
]


@st.composite
def _calls(draw: st.DrawFn) -> tuple[str, str, Arguments, str]:
    """A kernel, an argument's name, the arguments in fenced memory, and the form for that one."""
    kernel = draw(st.sampled_from(sorted(_KERNELS)))
    torch.manual_seed(0)
    arguments = _KERNELS[kernel][0](draw, draw(st.integers(0, 40)), draw(st.integers(1, 70)))
    name = draw(st.sampled_from([name for name, value in arguments.items() if isinstance(value, Tensor)]))
    change = draw(st.sampled_from(["form", "form", "shape", "dtype", None]))
    if change == "shape":
        with contextlib.suppress(IndexError):  # of nothing there is no first
            arguments[name] = draw(st.sampled_from(_SHAPES))(arguments[name])
    elif change == "dtype":
        arguments[name] = arguments[name].to(draw(st.sampled_from(_DTYPES)))
    return kernel, name, arguments, draw(odd_tensors.forms) if change == "form" else "as it is"


def _fenced(name: str, tensor: Tensor, in_front: bool) -> Tensor:
    fence = _FENCES.setdefault(name, Fence(40))
    return fence.tensor(tuple(tensor.shape), tensor.dtype, in_front).copy_(tensor)


@settings(fuzzer(150), suppress_health_check=list(HealthCheck), deadline=None)
@given(_calls(), st.booleans())
def check(call: tuple[str, str, Arguments, str], in_front: bool) -> None:
    kernel, name, arguments, form = call
    run = _KERNELS[kernel][1]
    fenced = {
        key: _fenced(key, value, in_front) if isinstance(value, Tensor) and value.numel() > 0 else value
        for key, value in arguments.items()
    }
    odd = {**fenced, name: odd_tensors.made(form, fenced[name])}
    found = outcome(run, **odd)
    if isinstance(found, Exception):
        # The last are torch's own, of tensors that it cannot ask for their shape or address.
        assert isinstance(found, (ValueError, TypeError, RuntimeError)), repr(found)
    if isinstance(found, Exception) and form != "as it is":
        return
    # In one piece and as it is, it is served.
    expected = outcome(run, **{key: odd_tensors.plain(v) if isinstance(v, Tensor) else v for key, v in odd.items()})
    if isinstance(found, Exception):
        assert isinstance(expected, Exception), repr(found)
    else:
        assert torch.equal(found, expected), (kernel, name, form)


if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(1)
    cpu_extension.module().limit_isa(sys.argv[1])
    check()
