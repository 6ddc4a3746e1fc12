"""Gradients of the fast forward: its backward runs stock transformers again, with a graph.

Scripts that forget ``torch.no_grad()`` are the rule, so a forward with gradients enabled must be fast too; the
few that do call ``backward`` get exactly the gradients of stock transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertfast.errors import StaleGraphError


@dataclass(frozen=True)
class Recomputation:
    """The fast forward, and how to get the same outputs from stock with a graph.

    inputs: the tensors that require gradients. kept: tensors that the recomputation reads as well. unchanged: whether the model still consists of the same parameters.
    visible: [B, S, 1] bool, where the fast outputs are not constant zeros, or None if nowhere.
    """

    run: Callable[[], tuple[Tensor, ...]]
    stock: Callable[[], tuple[Tensor, ...]]
    inputs: tuple[Tensor, ...]
    kept: tuple[Tensor, ...]
    unchanged: Callable[[], bool]
    visible: Tensor | None


def with_gradients(plan: Recomputation) -> tuple[Tensor, ...]:
    """The outputs of ``plan.run()``, differentiable with respect to ``plan.inputs``, to any order."""
    return _StockBackward.apply(plan, *plan.inputs)  # type: ignore[no-any-return, no-untyped-call]


class _StockBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Recomputation, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        # Saved so that autograd notices an in-place change between forward and backward, as it does for stock.
        ctx.save_for_backward(*inputs, *plan.kept)
        return plan.run()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: Recomputation = ctx.plan
        inputs = ctx.saved_tensors[: len(plan.inputs)]
        if not plan.unchanged():
            raise StaleGraphError(
                "backward: parameters of the model were replaced since the forward pass; run the forward again"
            )
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            outputs = plan.stock()
        pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None]
        if plan.visible is not None:
            pairs = [(o, g * plan.visible) for o, g in pairs]
        found = torch.autograd.grad(
            [o for o, _ in pairs],
            inputs,
            [g for _, g in pairs],
            create_graph=create_graph,
            allow_unused=True,
        )
        return (None, *found)
