"""The dense layers of an encoder layer in each precision, one by one: native kernels fuse three of them in a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.kernels.agreement import distance
from benchmarks.gpu.kernels.bench import MODELS
from benchmarks.gpu.kernels.values import normal
from benchmarks.gpu.timers import Call
from benchmarks.kernels.dense_layers import TorchBFloat16Linear, TorchInt8Linear, TorchLinear
from benchmarks.kernels.groups import Group, Inputs
from bertfast import cpu_dense
from bertfast.linear import (
    BFloat16Linear,
    BlasLinear,
    FusedLinear,
    Int8Linear,
    NativeBFloat16Linear,
    NativeInt8Linear,
    Norm,
    OneDnnLinear,
    PortableLinear,
    select_cpu_linear,
)
from bertfast.precision import missing
from bertfast.roofline.work import Work

#: The three things that a layer does with dense layers.
LAYERS = ("qkv", "attention_output", "feed_forward")
PRECISIONS = ("float32", "bfloat16", "int8")
# 737 rows: the ragged batch of benchmarks/cpu/rows.py.
_ROWS = {"base": (1024, 737, 128, 32), "large": (1024, 128)}
# bfloat16: rounded to 2^-9 at each product. int8: PyTorch has one scale for all of x.
_ALLOWED = {"float32": 1e-5, "bfloat16": 2e-2, "int8": 1e-1}
_WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_CPU = torch.device("cpu")


def linears(precision: str) -> Mapping[str, Callable[..., Any]]:
    """By name, in the order of the table: whatever is made of weights and biases is one more entry."""
    if precision == "float32":
        others = (BlasLinear, OneDnnLinear, FusedLinear, PortableLinear)
        chosen = select_cpu_linear(torch.float32)
        return {"bertfast": chosen, **{one.name.replace(" ", "-"): one for one in others}, "pytorch": TorchLinear}
    ours, onednn, theirs = {
        "bfloat16": (NativeBFloat16Linear, BFloat16Linear, TorchBFloat16Linear),
        "int8": (NativeInt8Linear, Int8Linear, TorchInt8Linear),
    }[precision]
    native = {"native": ours} if cpu_dense.serves(precision) else {}
    return {"bertfast": select_cpu_linear(torch.float32, precision), **native, "onednn": onednn, "pytorch": theirs}


def groups(precision: str) -> Iterator[Group]:
    """All layers and shapes in a precision, which this machine has (`bertfast.precision.missing`)."""
    for model, all_rows in _ROWS.items():
        hidden, _, inner = MODELS[model]
        for rows in all_rows:
            for layer in LAYERS:
                yield make_group(Dense(layer, model, rows, hidden, inner, precision))


def unavailable(precision: str) -> str | None:
    """Why this machine has not the precision, or None."""
    return None if precision == "float32" else missing(precision)


@dataclass(frozen=True)
class Dense:
    """A layer of ``rows`` tokens."""

    layer: str
    model: str
    rows: int
    hidden: int
    inner: int
    precision: str

    @property
    def weights(self) -> list[list[tuple[int, int]]]:
        """[M, K] of the parts of each dense layer."""
        h, i = self.hidden, self.inner
        return {"qkv": [[(h, h)] * 3], "attention_output": [[(h, h)]], "feed_forward": [[(i, h)], [(h, i)]]}[self.layer]

    @property
    def work(self) -> Work:
        """What stands between two products of the feed-forward network is counted as it would be in float32."""
        sizes = [m * k for parts in self.weights for m, k in parts]
        t, h, operations = self.rows, self.hidden, 2 * self.rows * sum(sizes)
        read = {"qkv": t * h, "attention_output": 2 * t * h, "feed_forward": 2 * t * h + t * self.inner}[self.layer]
        written = {"qkv": 3 * t * h, "attention_output": t * h, "feed_forward": t * h + t * self.inner}[self.layer]
        is_float32 = self.precision == "float32"
        return Work(
            4 * read + sum(sizes) * _WEIGHT_BYTES[self.precision],
            4 * written,
            flops=operations if is_float32 else 0,
            tensor_flops=0 if is_float32 else operations,
        )

    @property
    def label(self) -> str:
        return f"{self.model}-{self.rows}x{self.inner if self.layer == 'feed_forward' else self.hidden}"


def make_group(dense: Dense) -> Group:
    """Of a dense layer at a number of rows."""
    candidates = linears(dense.precision)
    return Group(
        dense.layer,
        dense.label,
        dense.precision,
        "cpu",
        dense.work,
        tuple(candidates),
        lambda: _make(dense, candidates),
        _errors,
        _ALLOWED[dense.precision],
    )


@dataclass(frozen=True)
class _DenseInputs(Inputs):
    """exact: the call in float32 by PyTorch."""

    exact: Call


def _make(dense: Dense, candidates: Mapping[str, Callable[..., Any]]) -> _DenseInputs:
    weights = [[normal(size, torch.float32, _CPU).mul_(0.02) for size in parts] for parts in dense.weights]
    biases = [[normal((len(w),), torch.float32, _CPU) for w in parts] for parts in weights]
    x, residual = (normal((dense.rows, dense.hidden), torch.float32, _CPU) for _ in range(2))
    weight, bias = (normal((dense.hidden,), torch.float32, _CPU) for _ in range(2))
    norm = Norm(weight, bias, 1e-12)
    # As in the encoder: attention gives what Q, K and V were.
    context = x.to(torch.bfloat16) if dense.precision != "float32" and dense.layer == "attention_output" else x

    def call(make: Callable[..., Any]) -> Call:
        layers = [make(w, b) for w, b in zip(weights, biases, strict=True)]
        if isinstance(layers[0], TorchLinear):
            return _call(dense, layers, x.to(layers[0].dtype), residual.to(layers[0].dtype), _in(norm, layers[0].dtype))
        return _call(dense, layers, context, residual, norm)

    values = [x, residual, norm.weight, norm.bias, *(value for parts in (*weights, *biases) for value in parts)]
    copies = 1 if dense.precision == "float32" else 2
    return _DenseInputs(
        values,
        {name: call(make) for name, make in candidates.items()},
        int(dense.work.read_bytes),
        copies * sum(value.nbytes for value in values),
        call(TorchLinear),
    )


def _in(norm: Norm, dtype: torch.dtype) -> Norm:
    return Norm(norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)


def _call(dense: Dense, layers: list[Any], x: Tensor, residual: Tensor, norm: Norm) -> Call:
    if dense.layer == "qkv":
        return lambda: layers[0](x)
    if dense.layer == "attention_output":
        return lambda: layers[0].add_norm(x, residual, norm)
    wide, narrow = layers
    return lambda: narrow.add_norm(wide.activated(x, "erf"), x, norm)


def _errors(inputs: Inputs) -> Mapping[str, float]:
    """Against PyTorch's in float32."""
    assert isinstance(inputs, _DenseInputs)
    exact = _joined(inputs.exact())
    return {name: distance(_joined(call()), exact) for name, call in inputs.calls.items()}


def _joined(result: Tensor | list[Tensor]) -> Tensor:
    return result if isinstance(result, Tensor) else torch.cat(result, 1)
