"""What an encoder asks of a dense layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from bertfast.norm import Norm


class Linear(Protocol):
    """``y = x W^T + b`` and the two things an encoder does with ``y``. x: [T, K]; W: [M, K]; b: [M].

    W and b are given in parts, one under the other, as a model holds Q, K and V.
    """

    name: str
    #: Memory of its copies of weights, if it has any: later changes of the weights are not in them.
    num_bytes: int

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None: ...

    @property
    def dtype(self) -> torch.dtype:
        """Of ``y``."""

    @property
    def activation(self) -> str | None:
        """Who computes activations, for people; None: whoever computes bertfast's ops on the device."""

    @property
    def norm(self) -> str | None:
        """Who computes norms, likewise."""

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``y``: [T, M]. ``out`` offers memory for the result; a backend may ignore it."""

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        """Activation of ``y`` (``"erf"``, ``"tanh"`` or ``"relu"``, as in `bias_gelu`): [T, M], of any strides."""

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        """LayerNorm of ``y + residual``. residual: [T, M] -> [T, M]."""


class Tail(Protocol):
    """What a post-LN layer does with each row by itself, after attention: three dense layers, two norms."""

    def __call__(self, context: Tensor, x: Tensor) -> Tensor:
        """context, x: [T, H] -> [T, H]."""
