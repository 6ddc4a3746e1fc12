"""The dense layers of an encoder layer in each precision: one by one, and all that follows attention."""

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
from benchmarks.kernels.layers import LAYERS, Layer, MakeCall, Rows
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
from bertfast.precision import onednn_lacks
from bertfast.roofline.work import Work

PRECISIONS = ("float32", "bfloat16", "int8")
# 737 rows: the ragged batch of benchmarks/cpu/rows.py.
_ROWS = {"base": (1024, 737, 128, 32), "large": (1024, 128)}
# bfloat16: rounded to 2^-9 at each product. int8: PyTorch has one scale for all of x.
_ALLOWED = {"float32": 1e-5, "bfloat16": 2e-2, "int8": 1e-1}
_WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Member:
    """make(weights, biases): a dense layer. call(layers, rows): what is timed of them."""

    make: Callable[..., Any]
    call: MakeCall


def linears(precision: str) -> Mapping[str, Callable[..., Any]]:
    """By name, in the order of the table: whatever is made of weights and biases is one more entry."""
    chosen = select_cpu_linear(torch.float32, None if precision == "float32" else precision)
    if precision == "float32":
        others = (BlasLinear, OneDnnLinear, FusedLinear, PortableLinear)
        return {"bertfast": chosen, **{one.name.replace(" ", "-"): one for one in others}, "pytorch": TorchLinear}
    ours, onednn, theirs = {
        "bfloat16": (NativeBFloat16Linear, BFloat16Linear, TorchBFloat16Linear),
        "int8": (NativeInt8Linear, Int8Linear, TorchInt8Linear),
    }[precision]
    native = {"native": ours} if _has_native(precision) else {}
    return {"bertfast": chosen, **native, "onednn": onednn, "pytorch": theirs}


def members(layer: Layer, precision: str) -> Mapping[str, Member]:
    """By name. ``bertfast`` is fused where it is in a model."""
    found = {name: Member(make, layer.call) for name, make in linears(precision).items()}
    if layer.fused is None or not _has_native(precision):
        return found
    found["bertfast"] = Member(found["native"].make, layer.fused)
    return {"bertfast": found["bertfast"], "fused": found["bertfast"], **found}


def _has_native(precision: str) -> bool:
    return precision != "float32" and cpu_dense.serves(precision)


def groups(precision: str) -> Iterator[Group]:
    """All layers and shapes in a precision, which this machine has (`bertfast.precision.onednn_lacks`)."""
    for model, all_rows in _ROWS.items():
        hidden, _, inner = MODELS[model]
        for rows in all_rows:
            for layer in LAYERS:
                yield make_group(Dense(layer, model, rows, hidden, inner, precision))


def unavailable(precision: str) -> str | None:
    """Why this machine has not the precision, or None."""
    return None if precision == "float32" else onednn_lacks(precision)


@dataclass(frozen=True)
class Dense:
    """A layer of ``rows`` tokens."""

    layer: Layer
    model: str
    rows: int
    hidden: int
    inner: int
    precision: str

    @property
    def weights(self) -> list[list[tuple[int, int]]]:
        """[M, K] of the parts of each dense layer."""
        return self.layer.weights(self.hidden, self.inner)

    @property
    def numbers(self) -> int:
        """In all weights."""
        return sum(m * k for parts in self.weights for m, k in parts)

    @property
    def weight_bytes(self) -> int:
        """Of one copy of them."""
        return self.numbers * _WEIGHT_BYTES[self.precision]

    @property
    def work(self) -> Work:
        """The activations that go in and come out are float32, as they are in bertfast."""
        row_bytes, operations = 4 * self.rows * self.hidden, 2 * self.rows * self.numbers
        is_float32 = self.precision == "float32"
        return Work(
            self.layer.reads * row_bytes + self.weight_bytes,
            self.layer.writes * row_bytes,
            flops=operations if is_float32 else 0,
            tensor_flops=0 if is_float32 else operations,
        )

    @property
    def label(self) -> str:
        """Rows by columns: the most that a product has."""
        widest = max(m for parts in self.weights for m, _ in parts)
        return f"{self.model}-{self.rows}x{widest}"


def make_group(dense: Dense) -> Group:
    """Of a dense layer at a number of rows."""
    found = members(dense.layer, dense.precision)
    return Group(
        dense.layer.name,
        dense.label,
        dense.precision,
        "cpu",
        dense.work,
        tuple(found),
        lambda: _make(dense, found),
        _errors,
        _ALLOWED[dense.precision],
    )


@dataclass(frozen=True)
class _DenseInputs(Inputs):
    """exact: the call in float32 by PyTorch."""

    exact: Call


def _make(dense: Dense, members: Mapping[str, Member]) -> _DenseInputs:
    weights = [[normal(size, torch.float32, _CPU).mul_(0.02) for size in parts] for parts in dense.weights]
    biases = [[normal((len(w),), torch.float32, _CPU) for w in parts] for parts in weights]
    x, residual = (normal((dense.rows, dense.hidden), torch.float32, _CPU) for _ in range(2))
    vectors = [normal((dense.hidden,), torch.float32, _CPU) for _ in range(4)]
    norms = Norm(vectors[0], vectors[1], 1e-12), Norm(vectors[2], vectors[3], 1e-12)
    # As in the encoder: attention gives what Q, K and V were.
    context = x.to(torch.bfloat16) if dense.precision != "float32" and dense.layer.reads_context else x
    plain, ours = Rows(x, residual, norms), Rows(context, residual, norms)

    def call(member: Member) -> Call:
        layers = [member.make(w, b) for w, b in zip(weights, biases, strict=True)]
        theirs = isinstance(layers[0], TorchLinear)
        return member.call(layers, plain.to(layers[0].dtype) if theirs else ours)

    values = [x, residual, *vectors, *(value for parts in (*weights, *biases) for value in parts)]
    # In float32 all read the same weights.
    copies = 0 if dense.precision == "float32" else len(members)
    return _DenseInputs(
        values,
        {name: call(member) for name, member in members.items()},
        int(dense.work.read_bytes),
        sum(value.nbytes for value in values) + copies * dense.weight_bytes,
        call(Member(TorchLinear, dense.layer.call)),
    )


def _errors(inputs: Inputs) -> Mapping[str, float]:
    """Against PyTorch's in float32."""
    assert isinstance(inputs, _DenseInputs)
    exact = _joined(inputs.exact())
    return {name: distance(_joined(call()), exact) for name, call in inputs.calls.items()}


def _joined(result: Tensor | list[Tensor]) -> Tensor:
    return result if isinstance(result, Tensor) else torch.cat(result, 1)
