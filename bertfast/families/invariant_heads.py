"""Heads whose results do not depend on the batch: the layers after an encoder, for ``invariant=True``.

A module changes its class and nothing else: parameters, hooks and names stay. A head of other layers than these
computes as it always did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import activations

from bertfast.errors import FallbackError, InvarianceError
from bertfast.linear import BLOCK_ROWS, in_blocks, in_pieces, is_one_row


class InvariantLinear(nn.Linear):
    """``nn.Linear`` in blocks of one number of rows. Raises InvarianceError where equal rows come out different."""

    def forward(self, input: Tensor) -> Tensor:
        self._check()
        rows = input.reshape(-1, self.in_features)
        return in_blocks(super().forward, rows).reshape(*input.shape[:-1], self.out_features)

    def _check(self) -> None:
        """Once for each device and dtype: equal rows of a block, which has one way to be added up, give equal bits."""
        found = self.weight.device, self.weight.dtype
        if self.__dict__.get("_alike_on") == found:
            return
        with torch.no_grad():
            row = torch.randn(self.in_features, generator=torch.Generator().manual_seed(0)).to(self.weight)
            y = F.linear(row.expand(BLOCK_ROWS, -1).contiguous(), self.weight, self.bias)
        if not is_one_row(y):
            raise InvarianceError(
                f"invariant=True: {self} on {found[0]} in {found[1]} gives equal rows different bits; accelerate the "
                "model without invariant, or its encoder alone"
            )
        self.__dict__["_alike_on"] = found


class _Elementwise:
    def forward(self, input: Tensor) -> Tensor:
        return in_pieces(super().forward, input)  # type: ignore[misc]


class InvariantTanh(_Elementwise, nn.Tanh):
    """``nn.Tanh``."""


class InvariantSigmoid(_Elementwise, nn.Sigmoid):
    """``nn.Sigmoid``."""


class InvariantGELU(_Elementwise, nn.GELU):
    """``nn.GELU``."""


class InvariantGELUActivation(_Elementwise, activations.GELUActivation):
    """transformers' ``GELUActivation``."""


class InvariantNewGELUActivation(_Elementwise, activations.NewGELUActivation):
    """transformers' ``NewGELUActivation``."""


class InvariantGELUTanh(_Elementwise, activations.GELUTanh):
    """transformers' ``GELUTanh``."""


_INVARIANT: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: InvariantLinear,
    nn.Tanh: InvariantTanh,
    nn.Sigmoid: InvariantSigmoid,
    nn.GELU: InvariantGELU,
    activations.GELUActivation: InvariantGELUActivation,
    activations.NewGELUActivation: InvariantNewGELUActivation,
    activations.GELUTanh: InvariantGELUTanh,
}
# What torch.compile can look at.
_MARK = "_bertfast_invariant"
_STOCK = {invariant: stock for stock, invariant in _INVARIANT.items()}


def set_invariant(root: nn.Module, encoders: Sequence[nn.Module], invariant: bool) -> None:
    """Make what is in ``root`` outside of the encoders' layers invariant, poolers too, or what it was before."""
    for encoder in encoders:
        encoder.__dict__.pop(_MARK, None)
        if invariant:
            encoder.__dict__[_MARK] = True
    table = _INVARIANT if invariant else _STOCK
    for module in _outside(root, encoders):
        kind = table.get(type(module))
        if kind is not None:
            module.__class__ = kind
            module.__dict__.pop("_alike_on", None)


def check_traceable(encoder: nn.Module) -> None:
    """Raise FallbackError if ``encoder`` is to be invariant, where torch.compile traces transformers' own code."""
    if _MARK in encoder.__dict__:
        raise FallbackError(
            f"{type(encoder).__name__} would be traced by torch.compile, and invariant is True; leave one of them out"
        )


def _outside(root: nn.Module, encoders: Sequence[nn.Module]) -> Iterator[nn.Module]:
    parts = [part for encoder in encoders for name, part in encoder.named_children() if name != "pooler"]
    inside = {module for part in parts for module in part.modules()}
    return (module for module in root.modules() if module not in inside)
