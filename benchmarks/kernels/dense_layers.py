"""PyTorch's own dense layers, as stock transformers calls them, behind the interface of bertfast's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.linear import Norm


class TorchLinear:
    """In the dtype of the weights. Q, K and V are three products."""

    name = "pytorch"
    activation = "PyTorch"
    norm = "PyTorch"
    num_bytes = 0
    #: In which a stock model's activations are.
    dtype = torch.float32

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self._parts = [(w.to(self.dtype), b.to(self.dtype)) for w, b in zip(weights, biases, strict=True)]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> list[Tensor]:
        return [F.linear(x, weight, bias) for weight, bias in self._parts]

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        (y,) = self(x)
        return F.relu(y) if activation == "relu" else F.gelu(y, approximate="tanh" if activation == "tanh" else "none")

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        (y,) = self(x)
        return F.layer_norm(y + residual, norm.weight.shape, norm.weight, norm.bias, norm.eps)


class TorchBFloat16Linear(TorchLinear):
    """A model in bfloat16, its residual stream included."""

    dtype = torch.bfloat16


class TorchInt8Linear(TorchLinear):
    """torch.ao's dynamic quantisation: a scale for each row of W, and one for all of x."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        with warnings.catch_warnings():
            # Deprecated in torch 2.13, and still what people have.
            warnings.simplefilter("ignore")
            self._packed = [
                torch.ops.quantized.linear_prepack(_quantized(weight), bias)
                for weight, bias in zip(weights, biases, strict=True)
            ]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> list[Tensor]:
        return [torch.ops.quantized.linear_dynamic(x, packed) for packed in self._packed]


def _quantized(weight: Tensor) -> Tensor:
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    return torch.quantize_per_channel(weight, weight.abs().amax(1) / 127, zeros, 0, torch.qint8)
